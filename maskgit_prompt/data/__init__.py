"""Images in: sets of them, their parts, the codes file, batches."""

"""Images in: sets of them, their splits, the codes file, batches."""

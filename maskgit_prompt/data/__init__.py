"""Images in: sources of pixels, the codes file, batches."""

"""Other people's checkpoints to our parameter trees: one file per format, each with a FORMAT."""

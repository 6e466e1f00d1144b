"""Other people's checkpoints to our parameter trees: one file per format, which has its FORMAT."""

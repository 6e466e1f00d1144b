"""Other people's checkpoints to our parameter trees, one file a format."""

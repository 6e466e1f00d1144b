"""Two sets of images compared, without a backbone."""

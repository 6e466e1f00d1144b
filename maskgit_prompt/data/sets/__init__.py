"""Where images come from: a folder or archive, TFDS, VTAB, few-shot sets, digits, drawings."""

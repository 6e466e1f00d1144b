"""Where images come from: folders, archives, TFDS, VTAB, few-shot sets, digits, emoji, drawings."""

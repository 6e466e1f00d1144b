"""Networks and nothing else: no checkpoint names, no meshes, no files."""

"""The shells: they carry the core's instructions out."""

"""Which contents are encrypted, with what, and who gets the keys."""

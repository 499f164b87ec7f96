"""A peer's mind, for one download: which block from whom next."""

"""What stays in the cache and whether it is still what the source has."""

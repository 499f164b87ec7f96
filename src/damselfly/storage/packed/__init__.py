"""The packed layout: an edition's blocks as they travel, one after another in one file."""

"""From the source into the store, and who may have it."""

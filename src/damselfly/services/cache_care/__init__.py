"""What keeps a cache in order for years: what operators order, expiry, scrubbing, imports."""

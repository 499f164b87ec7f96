"""What makes a host: a daemon, or a peer for one download."""

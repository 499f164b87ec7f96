"""What Python programs use: a client, files fed by the swarm, and a file system for fsspec."""

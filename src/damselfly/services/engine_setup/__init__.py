"""Setting container engines up to pull through the daemon, and undoing it."""

"""The SuperNode: the shells around `core.scheduling`."""

"""Downloads of a host: the shells around `core.downloading`."""

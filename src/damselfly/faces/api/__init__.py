"""The HTTP side of SuperNode and daemon."""

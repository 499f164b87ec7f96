"""damselfly: many machines, one content, the source read once."""

__version__ = "0.1.0"

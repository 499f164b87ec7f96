"""How bodies of packed blocks are encrypted, and how their keys travel."""

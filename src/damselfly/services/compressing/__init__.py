"""Compression of blocks: codecs of this process, and what the SuperNode does with them."""

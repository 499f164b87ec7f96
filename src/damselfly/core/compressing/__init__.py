"""PURE. When the SuperNode compresses, which blocks, and how."""

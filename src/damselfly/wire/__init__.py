"""Bytes and text to values of the core, and back; pure."""

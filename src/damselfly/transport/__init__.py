"""Bytes on the move."""

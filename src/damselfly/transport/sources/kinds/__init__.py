"""The kinds of sources besides plain HTTP, a module each."""

"""Making contents warm before they are asked for: what, where, when, and how far it is."""

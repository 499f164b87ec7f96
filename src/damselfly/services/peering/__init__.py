"""Links and uploads between hosts, and the server that carries them."""

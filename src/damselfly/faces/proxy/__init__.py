"""What container engines and other programs talk to: registry mirror and HTTP proxy."""

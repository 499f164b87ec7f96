"""What registries send when something was pushed: one module per sender, any bytes to values."""

"""Sources as providers."""

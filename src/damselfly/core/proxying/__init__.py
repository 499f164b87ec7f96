"""What the proxy does with a request: rules in order, and why one acts."""

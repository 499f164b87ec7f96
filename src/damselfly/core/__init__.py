"""What happens next: values, state and decisions, without I/O, clocks or dice."""

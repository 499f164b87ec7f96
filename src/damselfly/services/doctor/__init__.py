"""Whether everything between an engine and the source works, and what to do where it does not."""

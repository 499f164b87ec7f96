"""The same minds in an imagined world: hosts, links and faults in virtual time."""

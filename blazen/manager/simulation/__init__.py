"""A replay of requests with the decisions of the manager, on a clock of its own."""

"""How models of different families write tool calls."""

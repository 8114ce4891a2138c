"""Pure functions about the fleet: twins folded from messages, selection by labels, neighbours."""

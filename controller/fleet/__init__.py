"""Pure functions on the fleet: twins folded from messages, selection by labels, neighbours."""

"""The live view of a fleet in a terminal: what is looked at, and how it is drawn."""

"""The live view of a fleet in a terminal: its data, and how it is drawn."""

"""Pure checks before release, one file for each gate: they take evidence and return a verdict."""

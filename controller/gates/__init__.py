"""Pure checks before release, one file for each gate: evidence in, verdict out."""

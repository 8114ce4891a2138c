"""Pure checks before release, one file per gate: evidence in, verdict out."""

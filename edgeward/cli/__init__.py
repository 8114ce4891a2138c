"""The `edgeward` command, one file for each noun. Every command prints JSON with --json."""

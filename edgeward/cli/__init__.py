"""The `edgeward` command, one file per noun. Everything prints JSON with --json."""

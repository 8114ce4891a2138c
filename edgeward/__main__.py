"""`python -m edgeward`: the command line with this interpreter, which is needed to reproduce a run."""

from edgeward.cli.main import main

main()

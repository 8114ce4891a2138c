"""`python -m edgeward`: the command line with this interpreter, which reproducing a run needs."""

from edgeward.cli.main import main

main()

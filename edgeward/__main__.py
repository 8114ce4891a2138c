"""`python -m edgeward`: the command line by the interpreter that is named, as a run that is reproduced needs it."""

from edgeward.cli.main import main

main()

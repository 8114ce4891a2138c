"""Small wrong changes to the code that decides, and whether the tests beside it notice: `make mutants`."""

"""`python -m dseinvert`: the command line where its script is not on the path."""

from dseinvert.cli.main import main

main()

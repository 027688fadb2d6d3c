"""`python -m factfade` is the command line."""

from factfade.cli import main

main()

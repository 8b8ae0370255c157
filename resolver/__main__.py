"""`python -m resolver`: the command line where the script is not on the path."""

from resolver.cli import main

main()

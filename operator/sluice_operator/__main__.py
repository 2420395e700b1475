"""`python -m sluice_operator`."""

from sluice_operator.cli import main

if __name__ == "__main__":
    main()

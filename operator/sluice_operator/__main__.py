"""`python -m sluice_operator`."""

from sluice_operator.app import main

if __name__ == "__main__":
    main()

"""`python -m zoo`, for launchers that start modules: `torchrun -m zoo train ...`."""

from zoo.cli import main

# Processes that are started anew import this module again, under another name.
if __name__ == "__main__":
    main()

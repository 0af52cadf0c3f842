"""`python -m zoo`, for launchers that start modules: `torchrun -m zoo train ...`."""

from zoo.cli import main

main()

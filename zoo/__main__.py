"""The command `zoo`, and `python -m zoo` for launchers that start modules."""

import sys

from zoo.base import interrupts
from zoo.base.json_output import reserve_stdout


def main() -> None:
    """Run the command line, and exit with its exit code or that of a signal.

    Signal handlers are installed before the other imports, which can take seconds.
    """
    interrupts.handle_signals()
    reserve_stdout(sys.argv[1:])
    try:
        from zoo.cli import main as command

        command()
    except BaseException:
        # A process that was asked to stop does not wait for libraries to shut down.
        if interrupts.stop_signal():
            interrupts.end()
        raise


# Spawned processes import this module again, under another name.
if __name__ == "__main__":
    main()

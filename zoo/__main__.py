"""The command `zoo`, and `python -m zoo` for launchers that start modules."""

import sys

from zoo.base import interrupts
from zoo.base.json_output import reserve_stdout


def main() -> None:
    """Run the command line; ends with its exit code, or with that of a signal.

    Signals are handled before anything else is imported, which may take seconds.
    """
    interrupts.handle_signals()
    reserve_stdout(sys.argv[1:])
    try:
        from zoo.cli import main as command

        command()
    except BaseException:
        # A process that was asked to stop does not wait for libraries to put themselves away.
        if interrupts.stop_signal():
            interrupts.end()
        raise


# Processes that are started anew import this module again, under another name.
if __name__ == "__main__":
    main()

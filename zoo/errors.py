"""The two ways in which a command ends badly, each told in one line.

Everything a user can cause or mend is raised as one of these; anything else that
reaches the command line is a defect in film-zoo or in a plugin.
"""

from __future__ import annotations


class ZooError(Exception):
    """A failure told to the user in one line, with the next step where there is one."""

    exit_code = 1


class BadInput(ZooError):
    """What the user gave is wrong: a name, a file, an option. Nothing was changed."""

    exit_code = 2

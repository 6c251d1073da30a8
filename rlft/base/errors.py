"""The two kinds of failure a command can end in."""


class UserError(Exception):
    """A mistake in what was typed, written in a recipe or stored in a data file; the command ends with status 2.

    The message names the key or the row, says what was expected and what to type.
    """


class RunError(Exception):
    """A run that cannot go on (a non-finite gradient, a reward that keeps failing); the command ends with status 1."""

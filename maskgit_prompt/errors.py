"""Errors that a user can mend: main.py prints them as one line, without a traceback."""


class UserError(Exception):
    """A failure in one line: what was found, what was expected, and the way out. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong use: a bad flag, config value or argument. Exit code 2."""

    exit_code = 2


class Stopped(Exception):
    """SIGTERM or a preemption ended the run after a save. Exit code 143."""

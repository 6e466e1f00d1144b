"""Errors that a user can mend: main.py prints them as one line, without a traceback."""

import errno
import os

# What a shell reports for a process that SIGTERM or SIGINT ended: 128 and the signal's number.
TERMINATED = 143
INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """A failure in one line: what was found, what was expected, and the way out. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """A wrong use: a bad flag, config value or argument. Exit code 2."""

    exit_code = 2


class Stopped(Exception):
    """SIGTERM, a preemption or Ctrl-C ended the run after a save.

    Attributes:
      exit_code: TERMINATED or INTERRUPTED.
    """

    def __init__(self, message: str, exit_code: int = TERMINATED):
        super().__init__(message)
        self.exit_code = exit_code


def unwritable(what: str | os.PathLike, error: OSError) -> UserError:
    """The error of a file or folder that cannot be written, with a way out that fits."""
    if error.errno in FULL:
        way_out = "free some space there or choose another folder"
    elif error.errno in FORBIDDEN:
        way_out = "choose a folder that you may write to"
    else:
        way_out = "choose another folder"
    return UserError(f"cannot write {what}: {error.strerror or error}; {way_out}")

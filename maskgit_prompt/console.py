"""What a run prints, whoever reads it: a closed pipe or an ASCII terminal does not end the run."""

import io
import os
import sys


def settle() -> None:
    """Makes stdout and stderr of this process ones that print() cannot fail on.

    - One that is closed from the start (`>&-`) goes nowhere.
    - One whose reader leaves (`| head -1`), or whose disk is full, goes nowhere from then on.
    - What its encoding lacks is written as \\xe9 or \\u2192.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream, encoding, lines = getattr(sys, name), "utf-8", True
        if stream is None:
            # Or the next file that is opened would be number 1 or 2, which libraries print to.
            _nowhere(number)
        else:
            stream.flush()
            number, encoding, lines = stream.fileno(), stream.encoding, stream.line_buffering
        file = io.BufferedWriter(_Lasting(number, "w", closefd=False))
        options = {"errors": "backslashreplace", "line_buffering": lines}
        setattr(sys, name, io.TextIOWrapper(file, encoding, **options))


class _Lasting(io.FileIO):
    """A file that goes nowhere once it cannot be written any more."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError:
            _nowhere(self.fileno())
            return len(data)


def _nowhere(number: int) -> None:
    """Lets a file descriptor lead nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != number:
        os.dup2(null, number)
        os.close(null)

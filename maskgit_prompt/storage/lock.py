"""One process at a time: a lock file that ends with the process, so a killed one blocks nobody."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import TextIO

# Some network file systems have no locks; one process alone works there too.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Held(Exception):
    """Another process holds the lock.

    Attributes:
      owner: who, as "process 4711 on host a since 2026-11-26 05:40:12".
    """

    def __init__(self, owner: str):
        super().__init__(owner)
        self.owner = owner


@contextlib.contextmanager
def hold(path: pathlib.Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the lock file at `path`, whose folder exists; takes the file away at the end.

    waiting: called with the owner when another process holds it, and then waited for that one.

    Raises:
      Held: another process holds it, and `waiting` is None.
    """
    while True:
        with open(path, "a+") as file:
            _lock(file, waiting)
            if not _is(file, path):
                continue  # the one that held it took it away
            file.truncate(0)
            file.write(_me())
            file.flush()
            try:
                yield
            finally:
                # It may have gone with its folder, and another process may have made it anew.
                if _is(file, path):
                    path.unlink()
            return


def owner(path: pathlib.Path) -> str | None:
    """Who holds the lock file at `path`; None where nobody does."""
    try:
        with open(path) as file:
            _lock(file, None, fcntl.LOCK_SH)
    except Held as held:
        return held.owner
    except OSError:  # there is none
        return None
    return None


def _lock(file: TextIO, waiting: Callable[[str], None] | None, how: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        # Between the lock and the name in it there is an instant.
        found = " ".join(file.read(200).split()) or "another process"
        if waiting is None:
            raise Held(found) from None
        waiting(found)
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is(file: TextIO, path: pathlib.Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _me() -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on host {socket.gethostname()} since {now}\n"

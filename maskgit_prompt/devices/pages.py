"""Huge pages for computations on a CPU.

XLA allocates its temporaries at every call and frees them after it, so a step of tuning `mini`
meets some 73,000 pages of 4 kB anew. glibc (2.35 or later) asks for pages of 2 MB instead if a
tunable is in the environment when the process starts.
"""

import contextlib
import os
import pathlib
import sys

TUNABLES, NAME = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
ENABLED = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_again() -> None:
    """Starts this process again with huge pages, under the same number, where that helps.

    To be called before anything is printed. It does nothing where the kernel gives huge pages to
    nobody or to everybody, without glibc, and where the user has set the tunable:
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0 turns this off.
    """
    before = os.environ.get(TUNABLES, "")
    if NAME in before or not sys.executable or not _on_request():
        return
    os.environ[TUNABLES] = ":".join(filter(None, (before, f"{NAME}=1")))
    # Without them it is slower and no less right.
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _on_request() -> bool:
    """Whether the kernel gives huge pages to those who ask, and this glibc can ask."""
    try:
        kind, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        asked = "[madvise]" in ENABLED.read_text(encoding="ascii")
    except (AttributeError, OSError, ValueError):  # not Linux, or not glibc
        return False
    return kind == "glibc" and asked and tuple(map(int, version.split(".")[:2])) >= (2, 35)

"""Ctrl-C ends a command at once, whatever it is at."""

import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What keeps a main thread from Python's own handling of signals: code that never comes back to it
# (as a compilation), and a place that swallows the exception (as a library's callback).
BUSY = {
    "in-one-long-call": "import threading; threading.Event().wait()",
    "exceptions-swallowed": """
while True:
    try:
        sum(range(1000))
    except BaseException:
        pass
""",
}


@pytest.mark.parametrize("what", BUSY)
def test_ctrl_c_ends_it(what):
    code = (
        "from maskgit_prompt import interrupt; interrupt.end_at_once(); print('on', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code + BUSY[what]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "\ninterrupted; what is finished is kept\n")

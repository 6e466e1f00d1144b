"""The script that damages files: some of each kind make no fault, and a fault is seen."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
UNCHECKED = """
import sys
from tests import fuzz

class Prompts(fuzz.Prompts):
    def read(self, home, file):
        return (home / file).read_bytes()

fuzz.KINDS["prompt"] = Prompts
sys.exit(fuzz.run(["prompt", "--count=4"]))
"""


def python(*args: str) -> subprocess.CompletedProcess:
    """A process of its own, as the script leaves TensorFlow out for good."""
    return subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_damaged_files_of_every_kind_make_no_fault():
    done = python("-m", "tests.fuzz", "--count=27", "--seed=1", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_file_taken_for_another_in_silence_is_a_fault():
    done = python("-c", UNCHECKED)
    assert done.returncode == 1
    assert done.stdout.count("FAULT    prompt prompt.safetensors") == 4

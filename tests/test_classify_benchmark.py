"""benchmarks/classify.py: it runs, and both ways reach the same accuracies."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import classify


@pytest.mark.slow
def test_small_run_writes_json(tmp_path):
    command = [sys.executable, pathlib.Path(classify.__file__), "--small"]
    command.append(f"--out={tmp_path / 'out.json'}")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [row] = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["method"] == "linear" and row["ratio"] > 0
    assert row["largest difference of accuracies"] <= 0.13  # of eight images

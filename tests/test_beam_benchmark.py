"""The benchmark of beam search runs and writes what it says."""

import json
import subprocess
import sys

import pytest

from benchmarks import beam


@pytest.mark.slow
def test_small_run_writes_both_ways(tmp_path):
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, beam.__file__, "--small", f"--out={out}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("beams 2, examples 1, steps 3: cached ")
    found = json.loads(out.read_text())["found"]
    assert found["ratio"] == found["uncached"] / found["cached"] > 0

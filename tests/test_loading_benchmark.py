"""benchmarks/loading.py: it runs, and its full size is the published one."""

import json
import math
import pathlib
import subprocess
import sys

import pytest

from benchmarks import loading
from maskgit_prompt.models import masked, tokenizer

SCRIPT = pathlib.Path(loading.__file__)


def test_the_files_are_of_the_published_size():
    count = lambda shapes: sum(math.prod(shape) for shape in shapes.values())
    transformer = loading.transformer_shapes(masked.CONFIGS["imagenet256"], small=False)
    assert count(transformer) == 172_457_193
    # The file of shapes adds up the tokenizer's.
    lines = (SCRIPT.parents[1] / "tests/models/shapes/tokenizer_imagenet256.txt").read_text()
    found = count(loading.tokenizer_shapes(tokenizer.CONFIGS["imagenet256"], small=False))
    assert lines.endswith(f"\n{found:,} parameters\n")


@pytest.mark.slow
def test_small_run_writes_table_and_json(tmp_path):
    command = [sys.executable, SCRIPT, "--small", f"--out={tmp_path / 'out.json'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["start", "import", "load", "files:"]
    found = json.loads((tmp_path / "out.json").read_text())
    assert 0 < found["stages"]["load"]["seconds"] < 60
    assert 0.05 < found["stages"]["start"]["peak_gib"] < 2

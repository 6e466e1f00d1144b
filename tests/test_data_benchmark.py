"""benchmarks/data.py: it runs, and what it measures are the same images at every place."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import data
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.folder import image_folder

SCRIPT = pathlib.Path(data.__file__)


@pytest.mark.slow
def test_small_run_writes_table_and_json(tmp_path):
    command = [sys.executable, SCRIPT, "--small", f"--out={tmp_path / 'out.json'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*data.PLACES, "200"]
    found = json.loads((tmp_path / "out.json").read_text())
    for row in found["places"].values():
        assert row["kept"] == row["encode"] / min(row["feed"], row["encoder"])
        assert 0.05 < row["peak_gib"] < 2


def test_the_three_folders_hold_the_same(tmp_path):
    data.write(tmp_path, 12)
    sets = [
        image_folder(tmp_path / place, Preprocessing(data.SIZE))
        for place in ("folder", "zip", "tar")
    ]
    assert len({images.fingerprint for images in sets}) == 1
    assert len(sets[0]) == 12 and sets[0].classes == tuple("0123456789")
    prepared = list((tmp_path / "tfds").rglob("*.tfrecord*"))
    assert prepared and np.ptp(sets[0].pixels()) > 100

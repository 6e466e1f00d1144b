"""benchmarks/perceptual.py: whose reconstructions are nearer, image by image."""

import json

import numpy as np
import pytest

from benchmarks import perceptual
from maskgit_prompt.data.sets import synthetic

REAL = np.full((4, 2, 2, 3), 100, np.uint8)


def test_tokenizers_are_compared_image_by_image(monkeypatch):
    # Grey levels that each tokenizer is off, by image.
    off = {"a": np.uint8([1, 2, 3, 4]), "b": np.uint8([0, 1, 2, 5])}
    monkeypatch.setattr(
        perceptual, "reconstruct", lambda part, mesh, real: real + part[:, None, None, None]
    )
    measure = lambda real, made: (made.astype(float) - real).mean((1, 2, 3))
    a, b = perceptual.compare(off, measure, REAL)
    assert (a["backbone"], a["distance"]) == ("a", 2.5) and (b["backbone"], b["distance"]) == (
        "b",
        2,
    )
    assert "nearer" not in a
    assert (b["difference"], b["nearer"]) == (-0.5, 0.75)
    # The differences are -1, -1, -1, 1: their deviation is 1, the standard error half of it.
    assert b["difference_interval"] == pytest.approx(1.96 / 2)
    mean_square = (1 + 4 + 9 + 16) / 4
    assert a["psnr"] == pytest.approx(-10 * np.log10(mean_square / 255**2))
    lines = perceptual.table([a, b]).splitlines()
    assert lines[1].split() == ["39.38", "2.5000", "±", "1.2652", "a"]
    assert lines[2].split()[4:] == ["-0.5000", "±", "0.9800", "75%", "b"]


def test_all_chunks_are_measured(monkeypatch):
    monkeypatch.setattr(perceptual, "CHUNK", 3)
    monkeypatch.setattr(perceptual, "reconstruct", lambda part, mesh, real: real + part)
    real = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    measure = lambda real, made: real[:, 0, 0, 0].astype(float)
    [row] = perceptual.compare({"a": np.uint8(1)}, measure, real)
    assert row["distance"] == 1.5


def test_drawn_pictures_are_others_than_those_of_pretraining():
    drawn = perceptual.images_of("", 2, 32)
    assert drawn.shape == (2, 32, 32, 3)
    assert (drawn != synthetic.image_set(2, 0, 32).pixels()).any()


def test_a_run_prints_a_table_and_writes_json(tmp_path, capsys):
    out = tmp_path / "out.json"
    flags = ["mini", "mini-causal", "--features=mini", "--most=6", f"--out={out}"]
    perceptual.main(flags)
    head, _, first, second = capsys.readouterr().out.splitlines()
    assert head == "features of mini, 6 images of 32 x 32"
    assert first.split()[-1] == "mini" and second.split()[-2:] == ["0%", "mini-causal"]
    rows = json.loads(out.read_text())["rows"]
    assert rows[0]["distance"] == rows[1]["distance"] > 0.01  # both have one tokenizer
    assert rows[1]["difference"] == 0


def test_an_error_is_one_line():
    with pytest.raises(
        SystemExit, match=r"^error: --features = 'vgg', expected efficientnet-lite0"
    ):
        perceptual.main(["mini", "--features=vgg"])

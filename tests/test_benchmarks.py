"""benchmarks/tuning.py: it runs, its table reads, and its full size is the published one."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks import decoding, measuring, tuning
from maskgit_prompt import backbones, params
from maskgit_prompt.devices import sharding
from maskgit_prompt.models import tokenizer
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.stored import aligned

SCRIPT = pathlib.Path(tuning.__file__)


@pytest.mark.slow
def test_small_run_writes_table_and_json(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--small", "--repeats=1", f"--out={tmp_path / 'out.json'}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["stage", "seconds", "compile", "s", "peak", "GiB"]
    assert [line.split()[0] for line in lines] == ["encode", "forward", "step", "decode"]
    found = json.loads((tmp_path / "out.json").read_text())
    for row in found["stages"].values():
        assert 0 < row["seconds"] < 60 and 0 < row["compile_seconds"] < 600
        assert 0.05 < row["peak_gib"] < 4
    assert found["sizes"]["batch"] == 2


def test_table_sets_reference_and_aim_beside():
    row = {"seconds": 2.5, "compile_seconds": 12.0, "peak_gib": 2.25}
    lines = tuning.table({"forward": row, "step": row}, small=False).splitlines()
    assert lines[1].split() == ["forward", "2.50", "12.00", "2.25"]
    words = "step 2.50 (5.59, aim 2.8) 12.00 (68, aim 15) 2.25 (10.8, aim 3)"
    assert " ".join(lines[2].split()) == words


def test_full_size_is_the_published_one():
    sizes = tuning.Sizes()
    made = TokenizerConfig(**sizes.tokenizer)
    assert (made.image_size, made.codebook, made.length) == (256, 1024, 256)
    cfg = MaskedConfig(codebook=sizes.codebook, classes=sizes.classes, length=256)
    assert (cfg.layers, cfg.width, cfg.heads, cfg.mlp) == (24, 768, 16, 3072)
    assert cfg.vocabulary == 2025
    shapes = backbones.abstract(backbones.make_module("masked", cfg))
    attention, mlp, norms = 4 * (768 * 768 + 768), 2 * 768 * 3072 + 3072 + 768, 4 * 768
    embedding = (2025 + 257) * 768 + 2 * 768
    head = 768 * 768 + 768 + 2 * 768 + 2025
    assert params.count(shapes) == 24 * (attention + mlp + norms) + embedding + head == 172_457_193


def test_frozen_weights_lie_in_memory_once():
    tree = {"tokenizer": {"codebook": aligned(np.ones((1000, 16), np.float64))}}
    host = tree["tokenizer"]["codebook"]
    assert (host.dtype, host.shape, host.sum()) == (np.float32, (1000, 16), 16000)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    axes = backbones.axes("tokenizer", tokenizer.AXES)
    placed = sharding.place(tree, mesh, axes)["tokenizer"]["codebook"]
    assert placed.unsafe_buffer_pointer() == host.ctypes.data
    # A step that gives its buffers away must leave those of the backbone alone.
    moved = jax.jit(lambda x: x + 1, donate_argnums=0)(placed)
    assert float(moved.sum()) == 32000
    assert host.sum() == 16000


def test_recomputing_needs_less_memory_and_gives_the_same_gradient():
    found = []
    for remat in (False, True):
        cfg = MaskedConfig(
            codebook=8, classes=2, length=64, width=16, layers=4, heads=2, mlp=64, remat=remat
        )
        graphdef, _ = params.create(backbones.make_module("masked", cfg))
        weights = measuring.random_tree("masked", cfg)

        def loss(prompt, weights, graphdef=graphdef):
            codes = np.zeros((4, 64), np.int32)
            model = nnx.merge(graphdef, weights)
            return model.code_logits(codes, Prompt(tokens=prompt))[..., 0].sum()

        prompt = np.ones((4, 2, 16), np.float32)
        compiled = jax.jit(jax.grad(loss)).lower(prompt, weights).compile()
        memory = compiled.memory_analysis().temp_size_in_bytes
        found.append((memory, np.asarray(compiled(prompt, weights))))
    assert found[1][0] < 0.6 * found[0][0]
    assert np.abs(found[0][1]).max() > 1e-4
    np.testing.assert_allclose(
        found[0][1], found[1][1], rtol=0, atol=1e-5 * np.abs(found[0][1]).max()
    )


def test_decoding_table_leaves_out_what_was_not_measured():
    row = {"way": "masked", "batch": 4, "tokens": 16, "images_a_second": 12.5, "seconds": 0.32}
    row |= {"first_step": 0.0267, "last_step": None, "growth": None}
    row |= {"compile_seconds": 3.0, "peak_gib": 1.5}
    head, line = decoding.table([row]).splitlines()
    assert len(head) == len(line)
    assert line.split() == ["masked", "4", "16", "12.5", "0.32", "26.7", "-", "-", "3", "1.5"]


@pytest.mark.slow
def test_small_decoding_run_writes_table_and_json(tmp_path):
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, decoding.__file__, "--small", "--tokens", "2", f"--out={out}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["way"] for row in rows] == ["masked", "cached", "uncached"]
    assert all(row["images_a_second"] > 0 and 0.05 < row["peak_gib"] < 4 for row in rows)
    assert [row["growth"] is None for row in rows] == [True, False, True]

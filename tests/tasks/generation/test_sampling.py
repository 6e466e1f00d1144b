"""Decoding on a mesh: any mesh gives the codes of one device, and refuses what cannot be."""

import dataclasses

import jax
import numpy as np
import pytest

from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation.sampling import Sampler
from tests import tiny

LENGTH = tiny.TOKENIZER.length


def sampler(kind: str, mesh=None, **changes) -> Sampler:
    config = DecodeConfig(batch_size=8, steps=3, **changes)
    return Sampler(tiny.backbone(kind=kind), mesh or sharding.make_mesh(), config)


def prompts(*begin: int, kind: str = "tokens") -> Prompt:
    """Random prompts of three vectors for two layers of width 16; begin: their first dimensions."""
    shape = {"tokens": (3, 16), "layers": (2, 3, 16), "prefix": (2, 2, 3, 16)}[kind]
    drawn = np.random.default_rng(0).standard_normal((*begin, *shape), np.float32)
    return Prompt(**{kind: drawn})


def headers(count: int, kind: str = "tokens") -> Prompt:
    """Of two prompts an image."""
    return prompts(count, 2, kind=kind)


@pytest.mark.parametrize(
    ("kind", "place", "sampler_name"),
    [
        ("masked", "tokens", "plain"),
        ("masked", "tokens", "entropy"),
        ("masked", "prefix", "remasking"),
        ("causal", "tokens", "plain"),
        ("causal", "prefix", "jacobi"),
    ],
)
def test_any_mesh_gives_the_codes_of_one_device(kind, place, sampler_name):
    found = []
    meshes = [
        sharding.make_mesh(devices=jax.devices()[:1]),
        sharding.make_mesh(),
        sharding.make_mesh(2, 2, 2),
    ]
    for mesh in meshes:
        made = sampler(kind, mesh, guidance=2.0, sampler=sampler_name, remask=0.5)
        uncond = jax.tree.map(lambda x: x * 0.5, prompts(1, kind=place))
        found.append(made.codes(headers(11, place), sharding.make_key(0, mesh), uncond=uncond))
    assert found[0].shape == (11, LENGTH)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_the_transformer_computes_attention_as_asked(kind):
    mesh = sharding.make_mesh()
    config = DecodeConfig(batch_size=8)
    made = Sampler(tiny.backbone(kind=kind), mesh, config, Compute(attention="cudnn"))
    with pytest.raises(ValueError, match="'cudnn' needs an NVIDIA GPU"):
        made.codes(headers(8), sharding.make_key(0, mesh))


def test_guesses_change_nothing_but_the_number_of_calls():
    key, found = sharding.make_key(0, sharding.make_mesh()), {}
    for name in ("plain", "jacobi"):
        made = sampler("causal", sampler=name, temperature=0.1)
        found[name] = made.codes(headers(11), key), made.calls_per_batch
    np.testing.assert_array_equal(found["plain"][0], found["jacobi"][0])
    assert found["plain"][1] == LENGTH > found["jacobi"][1]


def test_calls_of_samplers_that_decide_many_codes_at_once():
    key = sharding.make_key(0, sharding.make_mesh())
    for settings, calls in (
        (dict(), 3),
        (dict(sampler="entropy", entropy_bound=0.0), LENGTH),
        (dict(sampler="entropy", entropy_bound=1e6), 1),
    ):
        made = sampler("masked", **settings)
        made.codes(headers(11), key)
        assert made.calls_per_batch == calls


def test_seconds_per_image_need_a_second_batch():
    made, key = sampler("causal"), sharding.make_key(0, sharding.make_mesh())
    made.codes(headers(8), key)
    assert made.seconds_per_image is None
    made.codes(headers(9), key)
    assert 0 < made.seconds_per_image < 10


def test_codes_beyond_the_tokenizers_are_not_drawn():
    # Of a transformer's 24 rows 5 are the tokenizer's codes, the others labels.
    backbone = tiny.backbone(kind="causal")
    part = backbone.parts["tokenizer"]
    tree = {**part.tree, "codebook": part.tree["codebook"][:5]}
    part = dataclasses.replace(part, cfg=dataclasses.replace(part.cfg, codebook=5), tree=tree)
    backbone = dataclasses.replace(backbone, parts={**backbone.parts, "tokenizer": part})
    mesh = sharding.make_mesh()
    made = Sampler(backbone, mesh, DecodeConfig(batch_size=8))
    codes = made.codes(headers(16), sharding.make_key(0, mesh))
    assert set(np.unique(codes)) == set(range(5))


@pytest.mark.parametrize(
    "known",
    [
        [[0, 1], [0, 1]],  # not a whole row of 4
        [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7]],  # not as many in both
        [[4, 5, 6, 7], [4, 5, 6, 7]],  # not the top one
        [range(16), range(16)],  # nothing left to make
    ],
)
def test_completion_is_of_top_rows(known):
    assert LENGTH == 16
    start = np.full((2, LENGTH), MASK)
    for row, codes in enumerate(known):
        start[row, list(codes)] = 3
    with pytest.raises(UsageError, match="top rows|whole rows"):
        sampler("causal").codes(headers(2), sharding.make_key(0, sharding.make_mesh()), start=start)


def test_completion_keeps_what_is_known():
    start = np.full((2, LENGTH), MASK)
    start[:, :8] = np.arange(8)
    codes = sampler("causal").codes(
        headers(2), sharding.make_key(0, sharding.make_mesh()), start=start
    )
    np.testing.assert_array_equal(codes[:, :8], start[:, :8])
    assert codes[:, 8:].min() >= 0

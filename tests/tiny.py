"""A source model of a few thousand random weights, for tests of everything around it."""

import functools
import pathlib

import jax
import numpy as np

from maskgit_prompt import params, source_writer
from maskgit_prompt import source as sources
from maskgit_prompt.data import synthetic

TOKENIZER = sources.TokenizerConfig(
    image_size=16, codebook=24, embedding=4, filters=8, multipliers=(1, 1, 1), blocks=1, groups=2
)
TRANSFORMER = sources.MaskedConfig(
    codebook=24,
    classes=len(synthetic.CLASSES),
    length=TOKENIZER.length,
    width=16,
    layers=2,
    heads=2,
    mlp=32,
)
CAUSAL = sources.CausalConfig(
    codebook=24,
    classes=9,
    length=TOKENIZER.length,
    positions=TOKENIZER.length,
    width=16,
    layers=2,
    heads=2,
    mlp=32,
    start=9,
)
FEATURES = sources.FeaturesConfig(
    image_size=16, classes=len(synthetic.CLASSES), width=8, stages=2, groups=2
)


@functools.cache
def _weights(name: str, kind: str, cfg, seed: int) -> params.Tree:
    _, init = params.create(sources.make_module(name, kind, cfg))
    return jax.device_get(jax.jit(init)(jax.random.key(seed)))


def source(seed: int = 0, kind: str = "masked") -> sources.Source:
    """With a transformer of a kind. Of its own arrays: a test may change them."""
    parts = {}
    for name, made_as, cfg in (
        ("tokenizer", "vq", TOKENIZER),
        ("transformer", kind, CAUSAL if kind == "causal" else TRANSFORMER),
        ("features", "convolutional", FEATURES),
    ):
        tree = jax.tree.map(np.copy, _weights(name, made_as, cfg, seed))
        parts[name] = sources.Part(made_as, cfg, tree)
    return sources.Source("tiny", parts, synthetic.CLASSES, {"data": "none: random weights"})


def write(folder: pathlib.Path, seed: int = 0, kind: str = "masked") -> str:
    source_writer.save(source(seed, kind), folder)
    return str(folder)

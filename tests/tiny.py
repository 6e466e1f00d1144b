"""A source model of a few thousand random weights, for tests of everything around it."""

import pathlib

import jax

from maskgit_prompt import params
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
FEATURES = sources.FeaturesConfig(
    image_size=16, classes=len(synthetic.CLASSES), width=8, stages=2, groups=2
)


def source(seed: int = 0) -> sources.Source:
    parts = {}
    for name, kind, cfg in (
        ("tokenizer", "vq", TOKENIZER),
        ("transformer", "masked", TRANSFORMER),
        ("features", "convolutional", FEATURES),
    ):
        _, init = params.create(sources.make_module(name, kind, cfg))
        parts[name] = sources.Part(kind, cfg, jax.device_get(jax.jit(init)(jax.random.key(seed))))
    return sources.Source("tiny", parts, synthetic.CLASSES, {"data": "none: random weights"})


def write(folder: pathlib.Path, seed: int = 0) -> str:
    sources.save(source(seed), folder)
    return str(folder)

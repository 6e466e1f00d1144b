"""A backbone of a few thousand random weights, for tests of everything around it."""

import functools
import pathlib

import jax
import numpy as np

from maskgit_prompt import backbones, params
from maskgit_prompt.data.sets import synthetic
from maskgit_prompt.models.causal_sizes import CausalConfig
from maskgit_prompt.models.convnext import ConvNeXtConfig
from maskgit_prompt.models.features import FeaturesConfig
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.ofa import OFAConfig
from maskgit_prompt.models.resnet import ResNetConfig
from maskgit_prompt.models.swin import SwinConfig
from maskgit_prompt.models.tokenizer import TokenizerConfig
from maskgit_prompt.models.vit import ViTConfig
from maskgit_prompt.tasks.pretraining import scenes

TOKENIZER = TokenizerConfig(
    image_size=16, codebook=24, embedding=4, filters=8, multipliers=(1, 1, 1), blocks=1, groups=2
)
TRANSFORMER = MaskedConfig(
    codebook=24,
    classes=len(synthetic.CLASSES),
    length=TOKENIZER.length,
    width=16,
    layers=2,
    heads=2,
    mlp=32,
)
CAUSAL = CausalConfig(
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
FEATURES = FeaturesConfig(
    image_size=16, classes=len(synthetic.CLASSES), width=8, stages=2, groups=2
)


@functools.cache
def _weights(kind: str, cfg, seed: int) -> params.Tree:
    _, init = params.create(backbones.make_module(kind, cfg))
    return jax.device_get(jax.jit(init)(jax.random.key(seed)))


def backbone(seed: int = 0, kind: str = "masked") -> backbones.Backbone:
    """With a transformer of a kind. Of its own arrays: a test may change them."""
    parts = {}
    for name, made_as, cfg in (
        ("tokenizer", "vq", TOKENIZER),
        ("transformer", kind, CAUSAL if kind == "causal" else TRANSFORMER),
        ("features", "convolutional", FEATURES),
    ):
        tree = jax.tree.map(np.copy, _weights(made_as, cfg, seed))
        parts[name] = backbones.Part(made_as, cfg, tree)
    return backbones.Backbone("tiny", parts, synthetic.CLASSES, {"data": "none: random weights"})


def write(folder: pathlib.Path, seed: int = 0, kind: str = "masked") -> str:
    backbones.save(backbone(seed, kind), folder)
    return str(folder)


ENCODER = ViTConfig(image_size=16, patch=8, width=16, layers=3, heads=2, mlp=32)
ENCODERS = {
    "vit": ENCODER,
    "swin": SwinConfig(
        image_size=16, patch=2, width=8, layers=(2, 1), heads=(2, 2), window=4, ratio=2
    ),
    "convnext": ConvNeXtConfig(image_size=16, width=8, layers=(1, 2)),
    "resnet": ResNetConfig(image_size=16, layers=(1, 1, 1, 1)),
}


def encoder(seed: int = 0, kind: str = "vit") -> backbones.Backbone:
    """With an encoder of a kind, for classifiers."""
    cfg = ENCODERS[kind]
    part = backbones.Part(kind, cfg, jax.tree.map(np.copy, _weights(kind, cfg, seed)))
    return backbones.Backbone("tiny", {"encoder": part}, (), {"data": "none: random weights"})


def write_encoder(folder: pathlib.Path, seed: int = 0, kind: str = "vit") -> str:
    backbones.save(encoder(seed, kind), folder)
    return str(folder)


def multimodal(seed: int = 0) -> backbones.Backbone:
    """With an encoder-decoder of images and texts, and its vocabulary."""
    words = scenes.vocabulary()
    cfg = OFAConfig(
        vocabulary=words.tokenizer.layout.size,
        width=16,
        layers=(2, 1),
        heads=(2, 2),
        mlp=(16, 16),
        stem=(1, 1, 1),
        stem_width=2,
        positions=32,
        buckets=4,
        side=4,
        window=2,
    )
    tree = jax.tree.map(np.copy, _weights("ofa", cfg, seed))
    part = backbones.Part("ofa", cfg, tree)
    return backbones.Backbone(
        "tiny-ofa", {"multimodal": part}, (), {"data": "none: random weights"}, {}, words.stored()
    )


def write_multimodal(folder: pathlib.Path, seed: int = 0) -> str:
    backbones.save(multimodal(seed), folder)
    return str(folder)

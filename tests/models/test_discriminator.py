"""The discriminator against what google-research/maskgit computes, and its sizes."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.backbones import abstract
from maskgit_prompt.models import discriminator
from maskgit_prompt.models.discriminator import Discriminator, DiscriminatorConfig
from maskgit_prompt.tasks import losses
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4  # DESIGN.md: relative to the output's largest value
PARTS = {"Conv_0": "conv_in", "Conv_1": "conv_out", "Dense_0": "dense", "Dense_1": "head"}
CONVS = {"Conv_0": "conv1", "Conv_1": "shortcut", "Conv_2": "conv2"}


def ours(name: str) -> str:
    """params/ResBlock_1/Conv_2/bias -> blocks/1/conv2/bias."""
    _, part, *rest = name.split("/")
    if part.startswith("ResBlock_"):
        return "/".join(["blocks", part.removeprefix("ResBlock_"), CONVS[rest[0]], rest[1]])
    return "/".join([PARTS[part], *rest])


@functools.cache
def case() -> Case:
    return Case("maskgit/discriminator_tiny")


@functools.cache
def golden(kind: str):
    """(parameters of the case, graphdef)."""
    cfg = DiscriminatorConfig(case().config["image_size"], blur=kind == "blur")
    make = lambda rngs: Discriminator(cfg, rngs=rngs)
    graphdef, _ = params.create(make)
    tree = params.unflatten({ours(name): x for name, x in case().parameters.items()})
    params.check(tree, abstract(make), "discriminator_tiny")
    assert params.count(tree) == 16532993
    return tree, graphdef


@pytest.mark.parametrize("kind", ["blur", "mean"])
def test_golden(kind):
    tree, graphdef = golden(kind)
    images = jnp.float32(case()["in_image"]) / 255
    model = nnx.merge(graphdef, tree)
    x = discriminator.activation(model.conv_in(images))
    close(model.blocks["0"](x)[:2, :, :, ::16], case()[f"out_block0_{kind}"], LAYER)

    @jax.jit
    def outputs(tree, images):
        logits = lambda images: nnx.merge(graphdef, tree)(images)
        return logits(images), jax.grad(lambda x: logits(x).sum())(images)

    logits, gradient = outputs(tree, images)
    close(logits, case()[f"out_logit_{kind}"], STACK)
    close(gradient, case()[f"out_image_grad_{kind}"], STACK)

    @jax.jit
    @jax.value_and_grad
    def penalty(tree, images):
        return losses.gradient_penalty(nnx.merge(graphdef, tree), images, 10.0)

    value, gradients = penalty(tree, images)
    close(value, case()[f"out_r1_{kind}"], STACK)
    head, conv_in = gradients["head"]["kernel"], gradients["conv_in"]["kernel"]
    close(head[:, 0], case()[f"out_r1_grad_dense1_{kind}"], STACK)
    close(conv_in[..., ::8], case()[f"out_r1_grad_conv0_{kind}"], STACK)


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
def test_golden_blur(size):
    close(discriminator.blur(case()["in_blur"], size), case()[f"out_blur_{size}"], LAYER)


def test_gradient_penalty_by_hand():
    images = jnp.ones((2, 2, 2, 1))
    logits = lambda images: 3 * images.sum((1, 2, 3))[:, None]
    assert losses.gradient_penalty(logits, images) == 360


def test_widths():
    cfg = DiscriminatorConfig(1024, multiplier=2)
    assert [cfg.width(2**i) for i in range(2, 11)] == [512] * 4 + [512, 256, 128, 64, 32]
    with pytest.raises(ValueError, match="image_size 100, expected a power of two from 8 to 1024"):
        DiscriminatorConfig(100)

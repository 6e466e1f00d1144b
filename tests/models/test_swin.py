"""Swin transformers against VPT's reference implementation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.importers import swin as importer
from maskgit_prompt.models import swin
from maskgit_prompt.models.prompts import Prompt
from tests import golden_models
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4


def model_of(case: Case) -> swin.Swin:
    c = case.config
    cfg = swin.SwinConfig(
        image_size=c["image_size"],
        patch=c["patch"],
        width=c["embed"],
        layers=c["depths"],
        heads=c["heads"],
        window=c["window"],
        ratio=c["mlp_ratio"],
    )
    named = {n: x for n, x in case.parameters.items() if not n.startswith(("enc.", "head."))}
    rules = importer.pytorch(cfg.heads, merged_behind=False)
    graphdef, tree = golden_models.tree(named, rules, lambda rngs: swin.Swin(cfg, rngs=rngs))
    return nnx.merge(graphdef, tree)


def tensors(case: Case, beginning: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(beginning): x
        for name, x in case.parameters.items()
        if name.startswith(beginning)
    }


def placed(found: dict, number: int) -> Prompt:
    repeat = lambda x: jnp.broadcast_to(x, (number, *x.shape))
    first = found["prompt_embeddings"]  # [1, P, D]
    if len(found) == 1:
        return Prompt(tokens=repeat(first[0]))
    stages = [found[f"deep_prompt_embeddings_{i}"] for i in range(len(found) - 1)]
    stages[0] = jnp.concatenate([first, stages[0]])
    return Prompt(stages=tuple(repeat(x) for x in stages))


def first_block(model: swin.Swin, x: jax.Array) -> jax.Array:
    block = jax.tree.map(lambda leaf: leaf[0], model.stages["0"].blocks)
    return block(x, model.cfg.sides[0], model.cfg.windows[0], 0)


@pytest.mark.parametrize("name", ["shallow", "deep"])
def test_swin(name):
    case = Case(f"vpt/swin_{name}")
    model, images = model_of(case), case["in_images"]
    trained = {"prompt": tensors(case, "enc."), "head": tensors(case, "head.last_layer.")}
    labels = case.arrays.get("in_labels", np.zeros(len(images), np.int32))

    def run(trained):
        features = model(images, placed(trained["prompt"], len(images)))
        found = features @ trained["head"]["weight"].T + trained["head"]["bias"]
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(found, labels)
        return loss.mean(), (features, found)

    (loss, (features, found)), grads = jax.value_and_grad(run, has_aux=True)(trained)
    close(features, case["out_features"], STACK)
    close(found, case["out_logits"], STACK)
    prompt = placed(trained["prompt"], len(images))
    front = prompt.tokens if prompt.tokens is not None else prompt.stages[0][:, 0]
    x = jnp.concatenate([front, model.embed(images)], axis=1)
    close(first_block(model, x), case["out_hidden_1"], LAYER)
    fresh = None if prompt.stages is None else prompt.stages[0]
    x = model.stages["0"].merge(model.run_stage(x, 0, fresh), model.cfg.sides[0])
    close(x, case["out_stage_1"], STACK)
    if "out_loss" not in case.arrays:
        return
    close(loss, case["out_loss"], STACK)
    for name, grad in grads["prompt"].items():
        close(grad, case[f"out_grad_{name}"], STACK)
    for name, grad in grads["head"].items():
        close(grad, case[f"out_grad_head_{name}"], STACK)


def test_an_image_sees_the_prompt_of_no_other():
    """In the reference a batch mixes them."""
    case = Case("vpt/swin_shallow")
    model, images = model_of(case), case["in_images"]
    prompt = placed(tensors(case, "enc."), 2)
    other = prompt.replace(tokens=prompt.tokens.at[1, :, 0].add(1.0))
    np.testing.assert_array_equal(model(images, other)[0], model(images, prompt)[0])
    assert np.abs(model(images, other)[1] - model(images, prompt)[1]).max() > 0.01


def test_windows_row_by_row():
    x = np.arange(16).reshape(1, 4, 4, 1)
    windows = swin.split_windows(x, 2)
    assert windows[0, :, :, 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    np.testing.assert_array_equal(swin.join_windows(windows, 4), x)


def test_a_shift_hides_what_it_brought_together():
    bias = swin.shift_bias(4, 2, 1)
    # Rolled by one: the last window holds the old corners, (3, 3), (3, 0), (0, 3) and (0, 0).
    assert (bias[0] == 0).all()
    assert (bias[3] == np.where(np.eye(4, dtype=bool), 0, swin.HIDDEN)).all()
    # The upper right one holds two columns that are no neighbors.
    left_right = np.float32([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    assert (bias[1] == swin.HIDDEN * left_right).all()


def test_relative_positions():
    assert swin.relative_positions(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_published_sizes():
    """Parameters without a classifier, arXiv 2103.14030's code: 28.3 M with its 769,000 for T."""
    count = lambda cfg: params.count(params.outline(lambda rngs: swin.Swin(cfg, rngs=rngs))[1])
    assert count(swin.CONFIGS["T"]) == 28_288_354 - 769_000
    assert count(swin.CONFIGS["B"]) == 87_768_224 - 1_025_000


def test_recomputing_changes_nothing():
    cfg = swin.SwinConfig(
        image_size=16, patch=2, width=8, layers=(3, 2), heads=(2, 2), window=4, ratio=2
    )
    model = swin.Swin(cfg, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).standard_normal((2, 16, 16, 3), np.float32)

    def gradient(model):
        loss = lambda tokens: (model(images, Prompt(tokens=tokens)) ** 2).sum()
        return jax.jit(jax.grad(loss))(jnp.ones((2, 3, 8)))

    again = swin.Swin(dataclasses.replace(cfg, remat=True), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(gradient(again), gradient(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(image_size=30), "images of 30, expected a multiple of 4"),
        (dict(image_size=20), "10 tokens a side do not divide into windows of 4"),
        (dict(heads=(2,)), r"layers \(2, 2\) and heads \(2,\): expected one per stage"),
        (dict(heads=(2, 3)), "width 16 does not divide into 3 heads"),
    ],
)
def test_sizes_that_do_not_fit(changes, message):
    sizes = dict(image_size=16, patch=2, width=8, layers=(2, 2), heads=(2, 2), window=4)
    with pytest.raises(ValueError, match=message):
        swin.SwinConfig(**sizes | changes)


@pytest.mark.parametrize("blocks, widths", [((2, 2), (8, 8)), ((2, 3), (8, 16)), ((2,), (8,))])
def test_prompts_for_other_stages(blocks, widths):
    cfg = swin.SwinConfig(
        image_size=16, patch=2, width=8, layers=(2, 2), heads=(2, 2), window=4, ratio=2
    )
    model = swin.Swin(cfg, rngs=nnx.Rngs(0))
    stages = tuple(np.zeros((1, b, 2, w)) for b, w in zip(blocks, widths, strict=True))
    with pytest.raises(ValueError, match=r"prompt of stages with \(blocks, width\)"):
        model(np.zeros((1, 16, 16, 3), np.float32), Prompt(stages=stages))

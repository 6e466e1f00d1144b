"""FID's Inception network against what pytorch-fid and torch-fidelity compute, tap by tap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.importers import inception as files
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.models.inception import (
    AVERAGE,
    HALVING,
    MAX,
    SIDE,
    Inception,
    InceptionConfig,
    pooled,
)
from tests.golden_models import Case, close

STACK = 1e-4  # DESIGN.md; 4e-6 was reached
CASES = {"fid_small_images": "legacy_pytorch", "fid_small_images_tf1": "legacy_tensorflow"}


def images(case: Case) -> jax.Array:
    """[3, 96, 80, 3] in [0, 1]."""
    if "in_images" in case.arrays:
        return jnp.asarray(case["in_images"])
    return jnp.float32(case["in_images_u8"]) / 255


@pytest.fixture(scope="module")
def found() -> dict:
    """Case -> what the network gives for its images: both at once, as the weights are the same."""
    cases = {name: Case(f"inception/{name}") for name in CASES}
    part = files.read(cases["fid_small_images"].parameters, "golden", Options())["features"]
    graphdef, _ = params.create(lambda rngs: Inception(part.cfg, rngs=rngs))
    tree = jax.tree.map(np.asarray, part.tree)

    def prepared(name: str) -> jax.Array:
        cfg = InceptionConfig(resize=CASES[name])
        unfilled = nnx.eval_shape(lambda: Inception(cfg, rngs=nnx.Rngs(0)))
        return unfilled.prepared(images(cases[name]))

    x = {name: prepared(name) for name in cases}

    @jax.jit
    def run(tree, x):
        model = nnx.merge(graphdef, tree)
        taps = model.taps(x)
        features = jnp.mean(taps["2048"], (1, 2))
        logits = model.logits(features), model.logits(features, bias=False)
        return taps | dict(
            zip(("features", "logits", "unbiased"), (features, *logits), strict=True)
        )

    outputs = run(tree, jnp.concatenate(list(x.values())))
    return {
        name: (case, x[name], {k: np.asarray(y[3 * i : 3 * i + 3]) for k, y in outputs.items()})
        for i, (name, case) in enumerate(cases.items())
    }


@pytest.mark.parametrize("name", CASES)
def test_what_the_network_takes(found, name):
    case, x, _ = found[name]
    assert x.shape == (3, SIDE, SIDE, 3)
    pixels = {"legacy_pytorch": (x + 1) / 2, "legacy_tensorflow": x * 128 + 128}[CASES[name]]
    close(pixels[:, ::12, ::12], case["out_resized"], 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_features_and_logits(found, name):
    case, _, outputs = found[name]
    for width in ("64", "192", "768"):
        close(outputs[width].mean((1, 2)), case[f"out_dims{width}"], STACK)
    close(outputs["features"], case["out_pool3"], STACK)
    close(outputs["logits"][:, ::3], case["out_logits"], STACK)
    close(outputs["unbiased"][:, ::3], case["out_logits_unbiased"], STACK)


def test_taps(found):
    case, _, outputs = found["fid_small_images"]
    for width, step in (("64", 8), ("192", 4), ("768", 4)):
        close(outputs[width][:, ::step, ::step, ::4], case[f"out_tap{width}"], STACK)
    close(outputs["spatial"], case["out_spatial"], STACK)
    shapes = {name: x.shape[1:] for name, x in outputs.items()}
    assert shapes["192"] == (35, 35, 192) and shapes["2048"] == (8, 8, 2048)


def test_what_scores_are_given():
    shapes = jax.eval_shape(
        lambda x: Inception(InceptionConfig(), rngs=nnx.Rngs(0)).seen(x), np.ones((2, 64, 48, 3))
    )
    sizes = {name: x.shape for name, x in shapes.items()}
    assert sizes == {"features": (2, 2048), "spatial": (2, 17 * 17 * 7), "logits": (2, 1008)}


def test_pools_by_hand():
    x = jnp.float32([1, 2, 6])[None, None, :, None]
    np.testing.assert_allclose(pooled(x, AVERAGE).ravel(), [1.5, 3, 4], rtol=1e-6)
    assert pooled(x, MAX).ravel().tolist() == [2, 6, 6]
    square = jnp.arange(25.0).reshape(1, 5, 5, 1)
    assert pooled(square, HALVING)[0, ..., 0].tolist() == [[12, 14], [22, 24]]


def test_conventions_are_named():
    with pytest.raises(ValueError, match="resize 'bilinear', expected legacy_pytorch, legacy_t"):
        InceptionConfig(resize="bilinear")

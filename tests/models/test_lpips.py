"""LPIPS against what richzhang/PerceptualSimilarity computes, at every step."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.lpips import NETWORKS, SMALLEST, Lpips, LpipsConfig
from maskgit_prompt.models.perceptual import EPSILON, GUARD, difference
from tests.golden_models import Case, close

TOLERANCE = 1e-5  # relative; gradients 1e-4 of the largest
# torchvision's number of each convolution, by stage.
NUMBERS = {
    "vgg": ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
    "alex": ((0,), (3,), (6,), (8,), (10,)),
}
both = pytest.mark.parametrize("network", ["vgg", "alex"])


def ours(network: str, name: str) -> str:
    """features.7.weight of VGG16 -> stages/1/convs/1/kernel."""
    if found := re.fullmatch(r"lin(\d)\.model\.1\.weight", name):
        return f"weights/{found[1]}"
    _, number, leaf = name.split(".")
    places = {n: (i, j) for i, row in enumerate(NUMBERS[network]) for j, n in enumerate(row)}
    i, j = places[int(number)]
    return f"stages/{i}/convs/{j}/{'kernel' if leaf == 'weight' else leaf}"


def array(x: np.ndarray) -> np.ndarray:
    """(out, in, height, width) -> (height, width, in, out), and (1, C, 1, 1) -> (C,)."""
    if x.ndim == 1:
        return x
    return x.ravel() if x.shape[0] == 1 else np.moveaxis(x, (2, 3, 1, 0), (0, 1, 2, 3))


@functools.cache
def golden(network: str) -> tuple[Case, Lpips]:
    case = Case(f"lpips/{network}")
    tree = {ours(network, name): array(x) for name, x in case.parameters.items()}
    graphdef, init = params.create(lambda rngs: Lpips(LpipsConfig(network), rngs=rngs))
    params.check(params.unflatten(tree), jax.eval_shape(init, jax.random.key(0)), network)
    return case, nnx.merge(graphdef, params.unflatten(tree))


def relative(found, expected, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


@both
def test_taps(network):
    case, model = golden(network)
    steps = {"vgg": (8, 6, 3, 2, 1), "alex": (3, 2, 1, 1, 1)}[network]
    thin = {"vgg": 8, "alex": 4}[network]
    sides = {"vgg": (48, 24, 12, 6, 3), "alex": (15, 7, 3, 3, 3)}[network]
    found = model.taps(case["in_a"])
    assert [x.shape[1:] for x in found] == [
        (side, side, width) for side, width in zip(sides, case.config["channels"], strict=True)
    ]
    for i, (x, step) in enumerate(zip(found, steps, strict=True)):
        close(x[:, ::step, ::step, ::thin], case[f"out_tap{i}"], TOLERANCE)


@both
def test_distances(network):
    case, model = golden(network)
    a, b = case["in_a"], case["in_b"]
    maps = model.maps(a, b)
    relative(jnp.stack([jnp.mean(x, (1, 2)) for x in maps], 1), case["out_layers"])
    relative(model(a, b), case["out_distance"])
    plain = (difference(x, y, guard=0) for x, y in zip(model.taps(a), model.taps(b), strict=True))
    relative(sum(jnp.mean(x, (1, 2)) for x in plain), case["out_distance_unweighted"])
    shape = a.shape[:3]
    enlarged = sum(jax.image.resize(x, shape, "linear") for x in maps)[..., None]
    relative(enlarged[:, ::8, ::8], case["out_spatial"])


@both
def test_gradient(network):
    case, model = golden(network)

    graphdef, weights = nnx.split(model)

    @jax.jit
    @jax.grad
    def gradient(a, guard, weights):
        maps = nnx.merge(graphdef, weights).maps(a, case["in_b"], guard)
        return sum(jnp.mean(x, (1, 2)).sum() for x in maps)

    for guard in (0.0, GUARD):
        found = gradient(case["in_a"], guard, weights)
        close(found[:, ::6, ::6], case["out_gradient_a"], 1e-4)


@both
def test_the_guard_moves_no_distance(network):
    case, model = golden(network)
    guarded = model.maps(case["in_a"], case["in_b"], GUARD)
    relative(sum(jnp.mean(x, (1, 2)) for x in guarded), case["out_distance"])


@both
def test_the_smallest_image_leaves_one_position(network):
    model = golden(network)[1]

    def last(side: int) -> int:
        return jax.eval_shape(model.taps, np.ones((1, side, side, 3)))[-1].shape[1]

    assert (last(SMALLEST[network]), last(SMALLEST[network] - 1)) == (1, 0)


def test_difference_by_hand():
    x, y = np.float32([[[[3, 4]]]]), np.float32([[[[0, 2]]]])
    np.testing.assert_allclose(difference(x, y), [[[0.36 + 0.04]]], rtol=1e-6)
    weighted = difference(x, y, jnp.float32([2, 1]))
    np.testing.assert_allclose(weighted, [[[0.72 + 0.04]]], rtol=1e-6)
    # A column of zeros stays one: its distance to a unit vector is 1.
    np.testing.assert_allclose(difference(0 * x, y), [[[1]]], rtol=1e-6)


def test_epsilon_is_outside_of_the_root():
    # (1e-10, 0) over its norm plus 1e-10 is half a unit vector; inside the root it would be 1e-5 of
    # one.
    x = np.float32([[[[EPSILON, 0]]]])
    np.testing.assert_allclose(difference(x, 0 * x, guard=0), [[[0.25]]], rtol=1e-5)


def test_only_the_guard_gives_a_column_of_zeros_a_gradient():
    x, y = np.zeros((1, 1, 1, 2), np.float32), np.float32([[[[1, 0]]]])
    gradient = lambda guard: jax.grad(lambda x: difference(x, y, guard=guard).sum())(x).ravel()
    assert np.isnan(gradient(0.0)).all()
    # (x / 1e-4 - 1)² at 0 has the slope -2 / 1e-4.
    np.testing.assert_allclose(gradient(GUARD), [-2e4, 0], rtol=1e-5)


def test_bfloat16_is_of_activations_alone():
    case, _ = golden("alex")
    cfg = LpipsConfig("alex", dtype="bfloat16")
    graphdef, _ = params.create(lambda rngs: Lpips(cfg, rngs=rngs))
    tree = params.unflatten({ours("alex", n): array(x) for n, x in case.parameters.items()})
    model = nnx.merge(graphdef, tree)
    assert {x.dtype.name for x in model.taps(case["in_a"])} == {"bfloat16"}
    found = model(case["in_a"], case["in_b"])
    assert found.dtype == np.float32
    relative(found, case["out_distance"], 0.02)


def test_networks_are_named():
    with pytest.raises(ValueError, match="network 'squeeze', expected vgg or alex"):
        LpipsConfig("squeeze")
    assert set(NETWORKS) == set(SMALLEST) == {"vgg", "alex"}

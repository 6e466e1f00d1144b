"""Perceptual distances by name: what they compute, their gradients, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import backbones
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import efficientnet
from maskgit_prompt.tasks.perceptual import PART, Perceptual, make_measure, make_perceptual
from tests import perceptual_files
from tests.golden_models import Case

RNG = np.random.default_rng(0)
LABELS = {
    "efficientnet-lite0": "efficientnet-lite0",
    "lpips": "LPIPS (alex)",
    "mini": "features of mini",
}
every = pytest.mark.parametrize("kind", LABELS)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """{kind: its name}; EfficientNet-Lite0 has random weights, as if it were installed."""
    folder = tmp_path_factory.mktemp("perceptual")
    weights = perceptual_files.write(folder / "efficientnet.pth", perceptual_files.efficientnet())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet, "find", lambda: weights)
        yield {kind: kind for kind in LABELS} | {
            "lpips": perceptual_files.write_lpips(folder, "alex")
        }


def images(count: int, size: int = 32) -> np.ndarray:
    return RNG.uniform(size=(count, size, size, 3)).astype(np.float32)


def distances(made: Perceptual, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(made.distance_fn)(made.tree, x, y))


def unit_distance(x: list, y: list) -> np.ndarray:
    """The distance of two lists of taps, in numpy and without epsilons."""
    total = 0
    for a, b in zip(x, y, strict=True):
        a, b = (np.asarray(z, np.float64) for z in (a, b))
        a, b = (z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-30) for z in (a, b))
        total = total + ((a - b) ** 2).sum(-1).mean((1, 2))
    return total


# --- What is computed ----------------------------------------------------------------------------


def test_lpips_of_images_from_0_to_1(names):
    case = Case("lpips/alex")
    made = make_perceptual(names["lpips"], 64, guard=0.0)
    x, y = ((case[name] + 1) / 2 for name in ("in_a", "in_b"))
    np.testing.assert_allclose(distances(made, x, y), case["out_distance"], rtol=2e-5)


def test_features_of_a_backbone():
    made = make_perceptual("mini", 32)
    part = backbones.load("mini").part("features")
    model = nnx.merge(part.graphdef(), jax.tree.map(jnp.asarray, made.tree))
    x, y = images(2), images(2)
    taps = model.taps(x), model.taps(y)
    assert [tap.shape[1:] for tap in taps[0]] == [(16, 16, 32), (8, 8, 64), (4, 4, 128)]
    np.testing.assert_allclose(distances(made, x, y), unit_distance(*taps), rtol=1e-4)
    np.testing.assert_allclose(model.features(x), np.mean(taps[0][-1], (1, 2)), rtol=1e-5)


def test_efficientnet_enlarges_small_images(names):
    name = names["efficientnet-lite0"]
    x, y = images(2), images(2)
    enlarged = [jax.image.resize(z, (2, 128, 128, 3), "linear") for z in (x, y)]
    found = distances(make_perceptual(name, 32), x, y)
    expected = distances(make_perceptual(name, 128), *enlarged)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.fixture(scope="module")
def pairs():
    """Two batches: two images, exchanged; equal ones, three times; black ones beside others."""
    [a, b], black, white = images(2), np.zeros((32, 32, 3), "f4"), np.ones((32, 32, 3), "f4")
    return np.stack([a, b, a, black, white, black, a]), np.stack([b, a, a, black, white, a, black])


@pytest.fixture(scope="module")
def graded(names, pairs):
    """A function: kind -> (its distance of `pairs`, distances, their gradient); each once."""

    @functools.cache
    def of(kind: str):
        made, (x, y) = make_perceptual(names[kind], 32, resize=32), pairs

        def loss(y, weights, x):
            found = made.distance_fn(weights, x, y)
            return found.sum(), found

        gradient, found = jax.jit(jax.grad(loss, has_aux=True))(y, made.tree, x)
        return made, np.asarray(found), np.asarray(gradient)

    return of


@every
def test_distances_are_of_pairs_and_their_gradients_finite(graded, kind):
    made, found, gradient = graded(kind)
    assert (made.name, made.image_size) == (LABELS[kind], 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[[0, 5]], found[[1, 6]], rtol=1e-4)  # x and y exchanged
    np.testing.assert_allclose(found[2:5], 0, atol=1e-9)  # of equal images
    assert found[0] > 0.01 and found[5] > 0.01 and abs(found[0] / found[5] - 1) > 0.01
    assert np.isfinite(gradient).all()
    moves = np.abs(gradient).max((1, 2, 3))
    assert moves[2:5].max() < 1e-4 * moves[[0, 1, 5, 6]].min()


@pytest.mark.parametrize("kind", ["lpips", "mini"])
def test_the_guard_is_that_of_the_caller(names, graded, pairs, kind):
    blind = make_perceptual(names[kind], 32, guard=1e8)
    # Unit vectors are then some 1e-4 as long.
    assert (distances(blind, *pairs) <= 1e-3 * graded(kind)[1]).all()


def test_images_are_resized_first(names):
    x, y = images(2), images(2)
    enlarged = [jax.image.resize(z, (2, 48, 48, 3), "linear") for z in (x, y)]
    found = distances(make_perceptual("mini", 32, resize=48), x, y)
    np.testing.assert_allclose(found, distances(make_perceptual("mini", 48), *enlarged), rtol=1e-4)
    assert (np.abs(distances(make_perceptual("mini", 32), x, y) / found - 1) > 0.01).all()


# --- The weights ---------------------------------------------------------------------------------


def test_weights_are_an_argument(names):
    made = make_perceptual(names["lpips"], 32)
    doubled = {**made.tree, "weights": jax.tree.map(lambda w: 2 * w, made.tree["weights"])}
    x, y = images(2), images(2)
    found = distances(dataclasses.replace(made, tree=doubled), x, y)
    np.testing.assert_allclose(found, 2 * distances(made, x, y), rtol=1e-5)


@every
def test_bfloat16(names, graded, pairs, kind):
    small, exact = make_perceptual(names[kind], 32, resize=32, dtype="bfloat16"), graded(kind)[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(small.tree)} == {"bfloat16"}
    found = distances(small, *pairs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=1e-9)
    assert np.abs(found[0] / exact[0] - 1) > 1e-6


def test_efficientnet_has_no_weights_that_it_does_not_use(names):
    made = make_perceptual(names["efficientnet-lite0"], 64)
    assert set(made.tree) == {"conv_in", "blocks"}
    assert sorted(made.tree["blocks"], key=int) == [str(i) for i in range(11)]


@every
def test_every_weight_has_a_place_on_a_mesh(names, kind):
    made = make_perceptual(names[kind], 32)
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    placed = sharding.place({PART: made.tree}, mesh, made.axes)
    assert {x.sharding.is_fully_replicated for x in jax.tree.leaves(placed)} == {True}


# --- Scores --------------------------------------------------------------------------------------


def test_a_measure_takes_any_number_of_pairs(names):
    made = make_perceptual(names["lpips"], 32, guard=0.0)
    real, reconstructed = RNG.integers(0, 256, (2, 5, 32, 32, 3), np.uint8)
    found = make_measure(made, sharding.make_mesh())(real, reconstructed)
    expected = distances(made, *(np.float32(x) / 255 for x in (real, reconstructed)))
    assert len(set(np.round(expected, 4))) == 5  # so that exchanged pairs would show
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "",
            UsageError,
            r"config.perceptual = '', expected efficientnet-lite0, mini64, mini, mini-causal",
        ),
        ("vgg", UsageError, r"config.perceptual = 'vgg', expected .* or two files for LPIPS, as"),
        ("no.pth,no2.pth", UserError, r"cannot read no.pth: No such file"),
    ],
)
def test_no_such_distance(name, error, message):
    with pytest.raises(error, match=message):
        make_perceptual(name, 32)


def test_one_file_is_not_enough(names):
    with pytest.raises(UserError, match=r"net.pth: expected two files, torchvision's VGG16 or"):
        make_perceptual(names["lpips"].split(",")[0], 32)


@pytest.mark.parametrize(("kind", "size"), [("lpips", 30), ("mini", 7)])
def test_images_that_are_too_small(names, kind, size):
    message = f"takes images of at least {size + 1} pixels a side, not {size}; use larger images"
    with pytest.raises(UsageError, match=message):
        make_perceptual(names[kind], size)
    with pytest.raises(UsageError, match=message):
        make_perceptual(names[kind], 64, resize=size)
    make_perceptual(names[kind], size, resize=32)


def test_a_backbone_without_a_feature_network(monkeypatch):
    parts = {"tokenizer": backbones.load("mini").part("tokenizer")}
    monkeypatch.setattr(backbones, "load", lambda name, key: backbones.Backbone("half", parts))
    with pytest.raises(
        UsageError, match="has no feature network, only tokenizer; give mini64 or mini or"
    ):
        make_perceptual("mini", 32)


def test_the_network_of_fid_is_for_scores(monkeypatch):
    part = backbones.Part("inception", None, {})
    monkeypatch.setattr(backbones, "load", lambda *_: backbones.Backbone("fid", {"features": part}))
    with pytest.raises(UsageError, match="of the kind 'inception', which is for scores, not for l"):
        make_perceptual("mini", 64)

"""Meshes, where parameters lie, and what the compiled step sends between eight devices."""

import collections
import re

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from maskgit_prompt import params
from maskgit_prompt.config import defaults as configs
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tuning import tune
from tests import tiny, training
from tests.test_params import EVERYTHING

# --- Meshes and batches --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ((-1, 1, 1), (8, 1, 1)),
        ((2, 4, 1), (2, 4, 1)),
        ((2, -1, 2), (2, 2, 2)),
        ((1, 1, -1), (1, 1, 8)),
    ],
)
def test_mesh(sizes, shape):
    mesh = sharding.make_mesh(*sizes)
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert tuple(mesh.shape.values()) == shape


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (-1, -1, 2), (8, 2, 1)])
def test_mesh_that_does_not_fit(sizes):
    data, fsdp, tensor = sizes
    with pytest.raises(UsageError) as error:
        sharding.make_mesh(*sizes)
    assert str(error.value) == (
        f"config.mesh = data {data}, fsdp {fsdp}, tensor {tensor} does not multiply to the 8 "
        "devices here; set one of them to -1 to use them all"
    )


def test_a_mesh_size_that_is_none():
    with pytest.raises(UsageError, match="config.mesh.fsdp = 0, expected at least 1, or -1"):
        sharding.make_mesh(1, 0, 1)


@pytest.mark.parametrize(
    ("batch", "micro", "mesh", "ok"),
    [
        (8, 1, (8, 1, 1), True),
        (8, 2, (2, 2, 2), True),  # tensor splits no batch: 8 = 4 devices · 2 · 1
        (8, 2, (8, 1, 1), False),
        (12, 1, (4, 2, 1), False),
        (0, 1, (8, 1, 1), False),
        (8, 0, (8, 1, 1), False),
    ],
)
def test_batch_sizes(batch, micro, mesh, ok):
    mesh = sharding.make_mesh(*mesh)
    if ok:
        sharding.check_batch(batch, micro, mesh)
        return
    message = f"batch size {batch} does not divide into {micro} micro-batches over 8 devices.*of"
    with pytest.raises(UsageError, match=message):
        sharding.check_batch(batch, micro, mesh)


def test_tuning_refuses_a_batch_that_does_not_divide(tmp_path):
    config = configs.transfer()
    config.train.batch_size = 30
    with pytest.raises(UsageError) as error:
        tune.tune(config, None, None, None, tmp_path, sharding.make_mesh(8))
    assert str(error.value) == (
        "batch size 30 does not divide into 1 micro-batches over 8 devices (data x fsdp); "
        "use a multiple of 8"
    )


def test_every_device_has_its_rows():
    mesh = sharding.make_mesh(2, 2, 2)
    x = np.arange(16).reshape(8, 2)
    placed = sharding.to_global({"x": x}, mesh)["x"]
    np.testing.assert_array_equal(sharding.to_host(placed, mesh), x)
    rows = {
        shard.device.id: np.asarray(shard.data)[:, 0].tolist()
        for shard in placed.addressable_shards
    }
    # Devices 0 and 1 differ in tensor alone.
    assert rows[0] == rows[1] == [0, 2] and rows[6] == rows[7] == [12, 14]


# --- Where parameters lie ------------------------------------------------------------------------


def test_rules():
    mesh = sharding.make_mesh(2, 2, 2)
    found = params.flatten(sharding.param_shardings(training.models()[2], mesh, training.AXES))
    spec = {path: s.spec for path, s in found.items()}
    assert spec["prompt/classes"] == spec["prompt/positions"] == P()
    assert spec["transformer/words"] == P(None, "fsdp")
    assert spec["transformer/blocks/attention/query/kernel"] == P(None, "fsdp", "tensor")
    assert spec["transformer/blocks/attention/out/kernel"] == P(None, "tensor", None, "fsdp")
    assert spec["transformer/blocks/mlp/up/kernel"] == P(None, "fsdp", "tensor")
    assert spec["transformer/blocks/mlp/down/kernel"] == P(None, "tensor", "fsdp")
    assert spec["transformer/head/bias"] == P()


def test_an_axis_of_one_device_is_not_written():
    mesh = sharding.make_mesh(8)
    found = sharding.param_shardings(training.models()[2], mesh, training.AXES)
    assert {x.spec for x in jax.tree.leaves(found)} == {P()}


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_every_parameter_of_a_backbone_has_rules(kind):
    mesh = sharding.make_mesh(2, 2, 2)
    for name, part in tiny.backbone(kind=kind).parts.items():
        found = sharding.param_shardings({name: part.tree}, mesh, part.axes)
        assert len(jax.tree.leaves(found)) == len(jax.tree.leaves(part.tree))


@pytest.mark.parametrize(
    ("path", "shape", "error", "message"),
    [
        (
            "transformer/words",
            (28, 18),
            UsageError,
            "transformer/words (28, 18): 18 does not divide by config.mesh.fsdp = 4; "
            "choose a divisor",
        ),
        ("transformer/thing", (2,), ValueError, "no sharding rule for transformer/thing (2,)"),
        (
            "transformer/positions",
            (2,),
            ValueError,
            "transformer/positions has shape (2,), but its rule has axes ('positions', 'embed')",
        ),
    ],
)
def test_parameters_that_fit_no_rule(path, shape, error, message):
    tree = params.unflatten({path: np.zeros(shape)})
    with pytest.raises(error) as found:
        sharding.param_shardings(tree, sharding.make_mesh(2, 4), training.AXES)
    assert str(found.value) == message


BOTH = pytest.mark.parametrize(
    "patterns", [training.PROMPT_ONLY, pytest.param(EVERYTHING, marks=pytest.mark.slow)]
)


@BOTH
def test_a_step_leaves_the_state_where_it_lies(patterns):
    mesh = training.mesh(2, 2, 2)
    before, _ = training.start(mesh, patterns)
    after, _, _ = training.take(mesh, 3, patterns)
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert x.sharding == y.sharding
    moments = optax.tree.get(after.opt, "mu")
    for x, y in zip(jax.tree.leaves(moments), jax.tree.leaves(after.trainable), strict=True):
        assert x.sharding == y.sharding


# --- One step on many meshes ---------------------------------------------------------------------


@BOTH
def test_meshes_agree(patterns):
    losses = []
    for sizes in ((1, 1, 1), (2, 4, 1), (2, 2, 2)):
        mesh = training.mesh(*sizes)
        step = training.step_fn(mesh, patterns)
        compilations = step._cache_size()
        losses.append(training.take(mesh, 3, patterns)[2])
        assert step._cache_size() <= compilations + 1
    assert abs(losses[0][0] - losses[0][2]) > 0.01  # it trains
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, rtol=1e-5)


# --- What is sent --------------------------------------------------------------------------------


def collectives(step) -> dict[str, list[tuple[int, ...]]]:
    """{operation: shapes of its results} of a compiled step."""
    found = collections.defaultdict(list)
    operations = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
    pattern = rf" = (.*?) ({operations})(?:-start)?\("
    for shapes, operation in re.findall(pattern, step.as_text()):
        for sizes in re.findall(r"\w+\[([\d,]*)\]", shapes):
            found[operation].append(tuple(int(n) for n in sizes.split(",") if n))
    return found


def test_only_the_prompts_gradient_is_reduced():
    sent = collectives(training.compiled(training.mesh(8)))
    # 3 · 2 · 16 numbers of the classes, 2 · 16 of the positions, and the loss.
    assert sorted(sent["all-reduce"]) == [(), (2, 16), (3, 2, 16)]
    assert sent.keys() == {"all-reduce"}


def test_fully_sharded_weights_are_gathered_and_nothing_of_them_is_reduced():
    sent = collectives(training.compiled(training.mesh(1, 8)))
    cfg, rows = training.TRANSFORMER, training.BATCH
    # One layer's weights at a time; of the batch, only its ids.
    ids = (rows, cfg.length, 1)
    weights = {
        x.shape[1:] if path.startswith("transformer/blocks") else x.shape
        for path, x in params.flatten(training.models()[2]).items()
    }
    weights.add((cfg.codebook, cfg.width))  # the words that are codes
    gathered = set(sent["all-gather"])
    assert gathered - {ids} <= weights
    assert {(16, 32), (32, 16), (16, 2, 8), (2, 8, 16)} <= gathered
    # Reduced: the prompt's gradient, the loss, and the LayerNorm of the embedded codes, whose
    # words are split over the width: two numbers a code.
    reduced = sorted(sent["all-reduce"])
    assert reduced == sorted([(), (2, 16), (3, 2, 16), *[(rows, cfg.length)] * 2])
    assert not sent["reduce-scatter"]

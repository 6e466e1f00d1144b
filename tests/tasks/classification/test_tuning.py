"""What tuning is given: which images are judged, what is read and computed once."""

import numpy as np
import pytest

from maskgit_prompt import config as defaults
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.devices import sharding
from maskgit_prompt.tasks.classification import inputs, plan
from maskgit_prompt.tasks.classification.tuning import make_examples
from tests import tiny


@pytest.fixture
def made(tmp_path):
    def make(**changes) -> plan.Plan:
        config = defaults.classify()
        config.data.shots, config.train.batch_size = 3, 8
        config.update_from_flattened_dict(changes)
        return plan.make_plan(config, tiny.encoder(), sharding.make_mesh(), tmp_path / "run")

    return make


def test_each_part_is_judged_on_its_own_images(made):
    one = made()
    judged = []

    def predict(tree, rows):
        judged.append(rows)
        right = np.eye(10)[one.data.labels(rows)]
        return np.where(np.arange(len(rows))[:, None] < tree, 1 - right, right)

    examples = make_examples(one, inputs.source(one), predict, heldout=True)
    found = {name: evaluate(2) for name, evaluate in examples.evaluations.items()}
    train, validation, heldout = judged
    np.testing.assert_array_equal(train, one.data.tune)
    np.testing.assert_array_equal(validation, one.data.judge)
    np.testing.assert_array_equal(heldout, one.data.test)
    sizes = {"train": 30, "validation": len(one.data.judge), "heldout": len(one.data.test)}
    assert found == {name: pytest.approx(2 / size) for name, size in sizes.items()}


def test_held_out_images_are_looked_at_only_where_someone_asks(made):
    parts = lambda one: set(make_examples(one, inputs.source(one), None).evaluations)
    assert parts(made()) == {"train", "validation"}
    asked = {"train.evaluate_every": 5}
    assert parts(made(**asked)) == {"train", "validation", "heldout"}


def test_features_for_a_head_alone(made):
    kinds = {
        "linear": "features",
        "prompt": "images",
        "bias": "images",
    }
    for method, kind in kinds.items():
        assert inputs.source(made(method=method))(np.arange(2)).keys() == {kind}
    assert inputs.source(made(method="linear", **{"data.flip": True}))(np.arange(2)).keys() == {
        "images"
    }
    one = made(method="linear")
    rows = one.data.tune[:5]
    tree = {"encoder": one.backbone.part("encoder").tree}
    expected = one.model.features(tree, one.data.images.read(rows))
    np.testing.assert_allclose(inputs.source(one)(rows)["features"], expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_made_ahead_and_features_are_not(made):
    """Two threads that compute on all devices at once could wait for each other."""
    for method, kind in {"linear": inputs.Batches, "prompt": Ahead}.items():
        one = made(method=method)
        assert isinstance(inputs.make_batches(one, inputs.source(one), 0), kind)


def test_batches_are_a_function_of_seed_and_step(made):
    one = made(**{"data.flip": True, "data.crop": 0.2})
    given = inputs.source(one)
    first, again, other = (inputs.Batches(one, given, seed) for seed in (0, 0, 1))
    for step in (2, 0):
        np.testing.assert_array_equal(first(step)["images"], again(step)["images"])
    assert (first(1)["images"] != other(1)["images"]).any()
    assert first(3)["labels"].shape == (8,)

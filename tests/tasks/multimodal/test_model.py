"""The loss by hand, and what stands around the network reaching every call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.decoding.constraints import make_trie
from maskgit_prompt.models.specials import END, PAD
from maskgit_prompt.tasks.multimodal import model as model_lib
from maskgit_prompt.tasks.multimodal import sizes
from maskgit_prompt.tasks.multimodal.model import LossConfig, answer_loss, right_tokens
from maskgit_prompt.tasks.multimodal.plan import make_model
from tests import tiny
from tests.tasks.multimodal.made import config


@pytest.fixture(scope="module")
def backbone():
    return tiny.multimodal()


def batch(targets):
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (len(targets), 32, 32, 3)).astype(np.uint8),
        "source": np.full((len(targets), 3), 300),
        "target": np.array(targets),
    }


class Fixed:
    """Gives the logits it was made with."""

    def __init__(self, logits):
        self._logits = jnp.array(logits, jnp.float32)

    def logits(self, tree, batch, key=None):
        return self._logits


def test_the_loss_is_the_mean_over_tokens_that_are_there():
    # Ids 0 to 4; ln p of the targets: -ln 5, then -ln(5/2) of id 2 (</s>) with logit ln 2... by
    # hand: softmax of (0, 0, ln 2, 0, 0) gives </s> 2/6.
    logits = [[[0.0] * 5, [0, 0, np.log(2), 0, 0]], [[0, 0, np.log(2), 0, 0], [9.0] * 5]]
    target = [[4, END], [END, PAD]]
    loss, metrics = answer_loss(Fixed(logits), LossConfig())({}, batch(target), jax.random.key(0))
    expected = (np.log(5) + 2 * np.log(3)) / 3
    assert loss == pytest.approx(expected) and metrics["nll"] == pytest.approx(expected)


def test_with_a_closed_set_only_its_ids_share_the_probability():
    logits, target = [[[0.0] * 5, [0.0] * 5]], [[4, END]]
    found = answer_loss(Fixed(logits), LossConfig(), make_trie([(4,), (3,)]))
    loss, _ = found({}, batch(target), jax.random.key(0))
    assert loss == pytest.approx((np.log(2) + np.log(1)) / 2)


def test_right_is_every_token_but_padding():
    logits = jnp.array([[[0, 1, 0, 0], [0, 0, 1, 0]], [[0, 0, 1, 0], [0, 0, 0, 9]]])
    target = jnp.array([[3, END], [END, PAD]])
    assert right_tokens(logits, target).tolist() == [False, True]
    assert right_tokens(logits, jnp.array([[1, END], [3, PAD]])).tolist() == [True, False]


@pytest.mark.parametrize("method", ["prompt", "adapter", "lora"])
def test_what_stands_around_the_network_changes_its_logits(backbone, method):
    settings = config(method=method)
    made, model = make_model(settings, backbone)
    part = backbone.part("multimodal")
    own = sizes.initial(made, part.tree, jax.random.key(0))
    assert params.count(own) == params.count(sizes.outlines(made, part.tree))
    logits = jax.jit(model.logits)
    given = batch([[300, END], [END, PAD]])
    whole = {"multimodal": part.tree, **own}
    before = logits(whole, given)
    bare = make_model(config(method="full"), backbone)[1]
    plain = jax.jit(bare.logits)({"multimodal": part.tree}, given)
    if method != "prompt":  # these begin as the network itself
        np.testing.assert_allclose(before, plain, rtol=1e-5, atol=1e-5)
    noise = np.random.default_rng(1)
    shift = lambda x: x + noise.standard_normal(x.shape).astype(np.float32)
    moved = {"multimodal": part.tree, **jax.tree.map(shift, own)}
    for stack in model_lib.STACKS if method == "adapter" else ():
        one = {**own, "adapter": {**own["adapter"], stack: moved["adapter"][stack]}}
        found = logits({"multimodal": part.tree, **one}, given)
        assert np.abs(np.asarray(found - plain)).max() > 1e-4
    assert np.abs(np.asarray(logits(moved, given) - plain)).max() > 1e-4


def test_a_token_is_predicted_from_those_before_it_alone(backbone):
    model = make_model(config(method="full"), backbone)[1]
    tree = {"multimodal": backbone.part("multimodal").tree}
    logits = jax.jit(model.logits)
    one = logits(tree, batch([[300, 301, 302, END]]))
    other = logits(tree, batch([[300, 301, 305, END]]))
    np.testing.assert_array_equal(one[:, :3], other[:, :3])
    assert (one[:, 3] != other[:, 3]).any()


def test_pixels_are_normalized_as_the_backbone_says(backbone):
    model = make_model(config(), backbone)[1]
    images = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(model.normalized(images).ravel(), [-1, 1, -0.6], atol=1e-6)


def test_an_example_without_its_picture_is_answered_from_its_text(backbone):
    model = make_model(config(method="full"), backbone)[1]
    logits = jax.jit(model.logits)
    given = batch([[300, END], [300, END]])
    tree = {"multimodal": backbone.part("multimodal").tree}
    there = logits(tree, given | {"there": np.array([False, True])})
    dark = given | {"images": np.zeros_like(given["images"])}
    other = logits(tree, dark | {"there": np.array([False, True])})
    np.testing.assert_allclose(there[0], other[0], atol=1e-6)
    assert np.abs(np.asarray(there[1] - other[1])).max() > 1e-6

"""What a segmenter is given, what counts in its loss, and its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt import config as defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tasks.segmentation import model, pictures, plan, tuning
from tests import tiny


@pytest.fixture
def made(tmp_path):
    def make(kind: str = "vit", **changes) -> plan.Plan:
        config = defaults.segment()
        config.data.num, config.train.batch_size, config.prompt.tokens = 8, 8, 2
        config.update_from_flattened_dict(changes)
        mesh = sharding.make_mesh()
        return plan.make_plan(config, tiny.encoder(kind=kind), mesh, tmp_path / "run")

    return make


def test_a_batch_has_images_with_their_own_masks(made):
    one = made()
    data = tuning.given(one)
    found = tuning.examples(one, data, None)
    batch = found.batch(3)
    images, masks = one.data.images.read(one.data.tune), one.data.images.masks(one.data.tune)
    assert found.number == len(images) == 6 and batch["images"].shape == (8, 16, 16, 3)
    for image, mask in zip(batch["images"], batch["masks"], strict=True):
        [row] = np.flatnonzero((images == image).all((1, 2, 3)))
        np.testing.assert_array_equal(mask, masks[row])
    assert found.evaluations.keys() == {"train"}
    asked = tuning.examples(made(**{"train.evaluate_every": 2}), data, None)
    assert asked.evaluations.keys() == {"train", "heldout"}


def test_ignored_pixels_have_no_loss():
    logits = jnp.log(jnp.float32([[[[0.9, 0.1], [0.5, 0.5]]]]))  # of two pixels

    class Fixed:
        def logits(self, tree, batch, key):
            return logits

    loss = model.segmentation_loss(Fixed())
    batch = lambda *classes: {"masks": np.uint8([[classes]])}
    found, metrics = loss({}, batch(1, 255), jax.random.key(0))
    assert float(found) == pytest.approx(-np.log(0.1), rel=1e-5) and metrics["accuracy"] == 0
    found, metrics = loss({}, batch(0, 1), jax.random.key(0))
    assert float(found) == pytest.approx(-(np.log(0.9) + np.log(0.5)) / 2, rel=1e-5)
    assert metrics["accuracy"] == 0.5
    assert float(loss({}, batch(255, 255), jax.random.key(0))[0]) == 0


def test_the_head_sees_patches_behind_the_prompt(made):
    """Features are those of the encoder's own patches, not shifted by prompt tokens."""
    one = made(**{"prompt.deep": False})
    tree = {"encoder": one.backbone.part("encoder").tree} | tuning.first_parameters(one, 0)
    images = one.data.images.read(one.data.test)
    found = one.model.features(tree, images)
    encoder, x, prompt, how = one.model.prepared(tree, images, None)
    tokens, _ = encoder.hidden(x, prompt, **how)
    assert tokens.shape[1] == 1 + 2 + 4 and found.shape == (len(images), 2, 2, 16)
    expected = encoder.norm(tokens[:, 3:])
    np.testing.assert_allclose(found.reshape(len(images), 4, 16), expected, atol=1e-5)


def test_overlays_have_the_colours_of_classes():
    colours = pictures.palette(3)
    assert colours[0].tolist() == [89, 89, 89]
    assert colours[1].argmax() == 0 and colours[1, 1] == colours[1, 2]  # red, then cyan
    image = np.full((1, 1, 3, 3), 100, np.uint8)
    found = pictures.overlaid(image, np.uint8([[[1, 2, 255]]]), colours)
    mixed = lambda c: np.round(0.25 * 100 + 0.75 * colours[c]).tolist()
    assert found[0, 0].tolist() == [mixed(1), mixed(2), [100, 100, 100]]
    many = pictures.palette(40)
    assert len({tuple(colour) for colour in many.tolist()}) == 40


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        ("swin", {}, "'segmentation' needs an encoder that is a vit, but 'tiny' has a swin"),
        ("vit", {"prompt.location": "pad", "prompt.tokens": 4}, "'pad' makes patches of other pi"),
        ("vit", {"head.hidden": 9}, "config.head.hidden = 9, expected a multiple of 8"),
        ("vit", {"data.path": "nowhere"}, "no folder nowhere/images: expected PATH/images/NAME.j"),
    ],
)
def test_plans_that_cannot_be(kind, changes, message, made):
    with pytest.raises(UsageError, match=message):
        made(kind, **changes)

"""The head for pixels: where patches go, and how they are enlarged."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt.models import vit
from maskgit_prompt.models.segmentation_head import (
    SegmentationHead,
    SegmentationHeadConfig,
    enlarged,
)

HEAD = SegmentationHeadConfig(width=4, classes=4, image_size=8, hidden=8, doublings=0)


def test_enlarged_between_the_middles_of_cells():
    row = jnp.float32([0, 4]).reshape(1, 1, 2, 1)
    found = enlarged(jnp.concatenate([row, row + 8], axis=1), 4)[0, :, :, 0]
    np.testing.assert_allclose(found[0], [0, 1, 3, 4], atol=1e-6)
    np.testing.assert_allclose(found[:, 0], [0, 2, 6, 8], atol=1e-6)


def test_patches_lie_row_by_row_behind_class_and_prompt():
    cfg = vit.ViTConfig(image_size=16, patch=8, width=8, layers=1, heads=2, mlp=8)
    network = vit.ViT(cfg, rngs=nnx.Rngs(0))
    tokens = jnp.zeros((1, 1 + 3 + 4, 8)).at[0, 4:, :4].set(jnp.eye(4))
    found = network.patch_grid(tokens)
    assert found.argmax(-1).tolist() == [[[0, 1], [2, 3]]]
    np.testing.assert_allclose(found.mean(-1), 0, atol=1e-6)  # normed


def test_without_stages_a_patch_decides_on_its_pixels():
    head = SegmentationHead(HEAD, rngs=nnx.Rngs(0))
    head.out.kernel[...] = jnp.eye(4)
    x = jnp.eye(4).reshape(1, 2, 2, 4)
    found = np.asarray(head(x)).argmax(-1)[0]
    expected = np.kron([[0, 1], [2, 3]], np.ones((4, 4)))
    np.testing.assert_array_equal(found, expected)


def test_each_stage_doubles_the_side_and_an_image_is_by_itself():
    cfg = dataclasses.replace(HEAD, doublings=2, image_size=20)
    head = SegmentationHead(cfg, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 4)).astype(np.float32)
    assert head.stages["1"](head.stages["0"](x)).shape == (2, 8, 8, 8)
    both = head(x)
    assert both.shape == (2, 20, 20, 4) and both.dtype == jnp.float32
    np.testing.assert_allclose(head(x[1:]), both[1:], atol=1e-5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"doublings": -1}, "doublings = -1, expected 0 or more"),
        ({"hidden": 12}, "hidden = 12, expected a multiple of 8"),
    ],
)
def test_sizes_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HEAD, **changes)

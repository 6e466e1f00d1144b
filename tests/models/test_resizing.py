"""The ways to resize for FID: by hand, and against what the tools compute."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.models.resizing import (
    CONVENTIONS,
    bicubic,
    half_pixel,
    resized,
    scaled,
    top_left,
)

# In units of 255. Pillow's kernel is made in another precision than its sums.
TOLERANCES = {"clean": 5e-3, "legacy_pytorch": 1e-4, "legacy_tensorflow": 1e-4}


def rows(found: np.ndarray) -> list:
    return np.round(found, 6).tolist()


def test_half_pixel_by_hand():
    assert rows(half_pixel(2, 4)) == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert rows(half_pixel(4, 2)) == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert rows(half_pixel(3, 3)) == np.eye(3).tolist()


def test_top_left_by_hand():
    assert rows(top_left(2, 4)) == [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    assert rows(top_left(4, 2)) == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert rows(top_left(3, 3)) == np.eye(3).tolist()


def test_bicubic_by_hand():
    assert rows(bicubic(1, 2)) == [[1], [1]]
    assert rows(bicubic(2, 1)) == [[0.5, 0.5]]
    np.testing.assert_allclose(bicubic(5, 5), np.eye(5), atol=1e-7)
    # Shrunk to half, the kernel is twice as wide: away 1/4, 3/4, 5/4, 7/4 of its unit.
    near = [1.5 * x**3 - 2.5 * x**2 + 1 for x in (0.25, 0.75)]
    far = [-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 for x in (1.25, 1.75)]
    sides = [far[1], far[0], near[1], near[0]]
    expected = np.array([*sides, *sides[::-1]]) / (2 * sum(sides))
    np.testing.assert_allclose(bicubic(16, 8)[4][5:13], expected, atol=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", ["small", "large"])
def test_golden(goldens, convention, size):
    with np.load(goldens / "inception/resize_modes/io.npz") as case:
        found = resized(jnp.asarray(case[f"in_{size}"])[None], 299, convention)
        expected = case[f"out_{size}_{convention}"]
    assert found.shape == (1, 299, 299, 3) and found.dtype == jnp.float32
    tolerance = TOLERANCES[convention]
    np.testing.assert_allclose(found[0, ::7, ::7], expected, rtol=0, atol=tolerance)


def test_clean_is_pillows_bicubic_of_floats():
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    found = resized(jnp.asarray(image)[None], 50, "clean")[0]
    for channel in range(3):
        plain = Image.fromarray(image[..., channel].astype(np.float32))
        expected = np.asarray(plain.resize((50, 50), Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_allclose(found[..., channel], expected, rtol=0, atol=5e-3)


def test_white_and_black_as_the_network_takes_them():
    ends = jnp.float32([0, 255])
    assert scaled(ends, "legacy_pytorch").tolist() == [-1, 1]
    assert scaled(ends, "clean").tolist() == [-1, 127 / 128]
    assert scaled(ends, "legacy_tensorflow").tolist() == [-1, 127 / 128]

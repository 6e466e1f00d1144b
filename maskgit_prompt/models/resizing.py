"""How FID tools bring images to the size of their network, which changes every feature.

Each way is linear along rows and along columns, so it is two matrices. Their names are those of
clean-fid; give the name beside every number.

Shapes: B batch, H, W image size, S side of the result, NHWC.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Convention:
    """What is done to pixels of 0 to 255 in front of the network.

    Attributes:
      weights: (size, side) -> [side, size], what each pixel adds to each pixel of the result.
      middle, spread: pixels go in as (x - middle) / spread.
      clips: whether results are clipped to 0..255 in between.
      tools: who does it like this.
    """

    weights: Callable[[int, int], np.ndarray]
    middle: float
    spread: float
    clips: bool
    tools: str


def half_pixel(size: int, side: int) -> np.ndarray:
    """Bilinear between the centres of pixels, without antialiasing: [side, size].

    2 to 4: (1, 0), (3/4, 1/4), (1/4, 3/4), (0, 1). 4 to 2: (1/2, 1/2, 0, 0), (0, 0, 1/2, 1/2).
    """
    half = np.float32(0.5)
    return _linear(np.maximum((_counted(side) + half) * np.float32(size / side) - half, 0), size)


def top_left(size: int, side: int) -> np.ndarray:
    """Bilinear between the first corners of pixels, without antialiasing: [side, size].

    2 to 4: (1, 0), (1/2, 1/2), (0, 1), (0, 1). 4 to 2: (1, 0, 0, 0), (0, 0, 1, 0).
    """
    return _linear(_counted(side) * np.float32(size / side), size)


def _counted(side: int) -> np.ndarray:
    # Places are float32, as in the tools: beyond pixel 256 they differ in the fifth digit.
    return np.arange(side, dtype=np.float32)


def _linear(places: np.ndarray, size: int) -> np.ndarray:
    """Each place between its two neighbours: place 0.25 of 2 is (3/4, 1/4)."""
    lower = np.minimum(np.floor(places).astype(int), size - 1)
    upper = np.minimum(lower + 1, size - 1)
    found, rows = np.zeros((len(places), size), np.float32), np.arange(len(places))
    found[rows, lower] += 1 - (places - lower)
    found[rows, upper] += places - lower
    return found


def bicubic(size: int, side: int) -> np.ndarray:
    """Keys' cubic with a = -1/2, widened when it shrinks (antialiased): [side, size].

    The kernel is cut at the image's edge and what is left of it divided by its sum. 1 to 2: (1),
    (1). 2 to 1: (1/2, 1/2).
    """
    step = size / side
    wide = max(step, 1.0)
    centres = (np.arange(side) + 0.5) * step
    away = np.abs(np.arange(size) + 0.5 - centres[:, None]) / wide  # [side, size]
    near = (1.5 * away - 2.5) * away**2 + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    found = np.where(away < 1, near, np.where(away < 2, far, 0))
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


CONVENTIONS = {
    "legacy_pytorch": Convention(half_pixel, 127.5, 127.5, False, "pytorch-fid"),
    "legacy_tensorflow": Convention(
        top_left, 128.0, 128.0, False, "torch-fidelity, guided-diffusion, the first FID"
    ),
    "clean": Convention(bicubic, 128.0, 128.0, True, "clean-fid"),
}


def resized(images: Array, side: int, convention: str) -> Array:
    """Pixels [B, H, W, 3] of 0 to 255, of any dtype -> float32 [B, S, S, 3] of 0 to 255.

    Images of S x S stay as they are. Sums run at full precision on every device.
    """
    rule = CONVENTIONS[convention]
    images = images.astype(jnp.float32)
    down, across = (rule.weights(size, side) for size in images.shape[1:3])  # [S, H], [S, W]
    rows = jnp.einsum("ah,bhwc->bawc", down, images, precision="highest")  # [B, S, W, 3]
    found = jnp.einsum("dw,bawc->badc", across, rows, precision="highest")  # [B, S, S, 3]
    return jnp.clip(found, 0, 255) if rule.clips else found


def scaled(images: Array, convention: str) -> Array:
    """Pixels of 0 to 255 as the network takes them: white is 1, or 127 / 128."""
    rule = CONVENTIONS[convention]
    return (images - rule.middle) / rule.spread

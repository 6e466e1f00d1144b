"""Prompts of pixels, which an encoder reads with the image (arXiv 2203.12119, figure 5).

Shapes: B batch, S image size, n width of the frame, C further channels, L patches, D width.

  pad     a frame of n pixels around the image, S + 2n pixels a side with it
  below   C further channels of the image, and the patch kernel that reads them; for a vision
          transformer

Further channels change a patch's embedding by what their own kernel makes of them: the kernel of
red, green and blue stays as it is.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.layers import patch_embedding
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

PLACES = ("pad", "below")
FRAMED = ("resnet", "convnext")  # kinds of encoders without tokens, which take a frame alone


@dataclasses.dataclass(frozen=True)
class PixelPromptConfig:
    """Sizes of a prompt of pixels.

    Attributes:
      place: one of PLACES.
      tokens: n with "pad", C with "below".
      image_size, patch, width: the encoder's S, side of a patch (1 where any size will do), and D.
      uniform: channels start uniformly between -uniform and uniform; a frame between 0 and 1, as
        pixels do.
    """

    place: str
    tokens: int
    image_size: int
    patch: int
    width: int
    uniform: float = 0.0

    def __post_init__(self):
        if self.place not in PLACES:
            raise ValueError(f"place = {self.place!r}, expected one of {', '.join(PLACES)}")
        if self.tokens < 1:
            raise ValueError(f"tokens = {self.tokens}, expected at least 1")
        if self.place == "pad" and 2 * self.tokens % self.patch:
            unit = self.patch if self.patch % 2 else self.patch // 2
            raise ValueError(
                f"tokens = {self.tokens} makes images of {self.image_size + 2 * self.tokens} "
                f"pixels a side, which patches of {self.patch} do not divide; expected a multiple "
                f"of {unit}"
            )


class PixelPrompt(nnx.Module):
    """Makes the same float32 Prompt for every image: of a frame, or of what channels add."""

    def __init__(self, cfg: PixelPromptConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        size, n = cfg.image_size, cfg.tokens
        draw = lambda least, most, *shape: nnx.Param(
            jax.random.uniform(rngs.params(), shape, minval=least, maxval=most)
        )
        if cfg.place == "pad":
            self.sides = draw(0.0, 1.0, size, 2 * n, 3)  # columns on the left, then on the right
            self.ends = draw(0.0, 1.0, 2 * n, size + 2 * n, 3)  # rows on top, then at the bottom
        else:
            self.channels = draw(-cfg.uniform, cfg.uniform, size, size, n)
            # Without a bias: the encoder's own patches have one.
            self.patches = patch_embedding(
                cfg.width, cfg.patch, jnp.float32, rngs, channels=n, use_bias=False
            )

    def __call__(
        self, class_ids: Array, instance_ids: Array | None = None, key: Array | None = None
    ) -> Prompt:
        """The prompt of B images; as PromptGenerator's, without conditions and dropout.

        Prompt(frame=[B, S + 2n, S + 2n, 3]), zeros in the middle, or Prompt(added=[B, 1, 1 + L,
        D]), zeros for the class token.
        """
        batch, cfg = len(class_ids), self.cfg
        if cfg.place == "pad":
            left, right = jnp.split(self.sides[...], 2, axis=1)
            top, bottom = jnp.split(self.ends[...], 2, axis=0)
            middle = jnp.zeros((cfg.image_size, cfg.image_size, 3))
            rows = jnp.concatenate([left, middle, right], axis=1)  # [S, S + 2n, 3]
            frame = jnp.concatenate([top, rows, bottom])  # [S + 2n, S + 2n, 3]
            return Prompt(frame=jnp.broadcast_to(frame, (batch, *frame.shape)))
        x = self.patches(self.channels[None]).reshape(-1, cfg.width)  # [L, D]
        x = jnp.concatenate([jnp.zeros((1, cfg.width)), x])[None]  # [1, 1 + L, D]
        return Prompt(added=jnp.broadcast_to(x, (batch, *x.shape)))


def framed(images: Array, frame: Array) -> Array:
    """Images [B, S, S, 3] in the middle of frames [B, F, F, 3].

    With one pixel (5) and a frame 1 2 3 / 4 0 6 / 7 8 9: 1 2 3 / 4 5 6 / 7 8 9.
    """
    size = images.shape[1]
    edge = (frame.shape[1] - size) // 2
    inside = slice(edge, edge + size)
    return jnp.asarray(frame, images.dtype).at[:, inside, inside].set(images)


def in_frame(images: Array, prompt: Prompt | None) -> Array:
    """Images [B, S, S, 3] with the prompt's frame around them, for a convolutional network.

    Raises:
      ValueError: a prompt of another place.
    """
    if prompt is None:
        return images
    if prompt.frame is None:
        raise ValueError(f"prompt of {prompt.place}, expected a frame: there are no tokens")
    return framed(images, prompt.frame)

"""OFA's encoder: an image's grid and a text, one behind the other, to what the decoder reads.

Shapes: B batch, H, W image size, I cells of the image, L tokens of the text, S = I + L, D width.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from maskgit_prompt.models import resnet
from maskgit_prompt.models.layers import Pin, as_it_is, kernel_init, run_blocks
from maskgit_prompt.models.ofa_blocks import EPSILON, EncoderBlock, Front
from maskgit_prompt.models.ofa_positions import (
    PositionBias,
    Positions,
    grid_cells,
    image_buckets,
    looked_up,
    text_buckets,
)
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.models.specials import PAD

Array = jax.Array

TEXT, IMAGE = 0, 1  # rows of the type table


@struct.dataclass
class Memory:
    """What the encoder made of images and texts.

    Attributes:
      x: [B, S, D]; a prefix adds nothing to its length.
      seen: bool [B, S], False for padding and for images that are not there.
      positions: [S, D], position vectors.
    """

    x: Array
    seen: Array
    positions: Array

    def __len__(self) -> int:
        return len(self.x)


class Encoder(nnx.Module):
    """cfg: as in `ofa.OFAConfig`."""

    def __init__(self, cfg: Any, *, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(cfg.dtype), cfg.width
        norm = lambda: nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.cfg = cfg
        self.stem = resnet.Stages(cfg.stem, cfg.stem_width, dtype, rngs=rngs)
        self.image_projection = nnx.Linear(
            self.stem.features, width, dtype=dtype, kernel_init=kernel_init, rngs=rngs
        )
        self.types = nnx.Param(kernel_init(rngs.params(), (2, width)))
        self.text_norm = norm()
        self.image_norm = norm()
        self.positions = Positions(cfg, dtype, rngs=rngs)
        self.bias = PositionBias(width, cfg.heads[0], dtype, rngs=rngs)
        # One EncoderBlock whose every parameter has a leading dimension of layers.
        self.blocks = jax.vmap(lambda rngs: EncoderBlock(cfg, rngs=rngs))(rngs.split(cfg.layers[0]))
        self.norm = norm()

    def __call__(
        self,
        words: Array,
        images: Array | None,
        ids: Array,
        prefix: Prompt | None = None,
        *,
        valid: Array | None = None,
        adapters: Any = None,
        key: Array | None = None,
        keep_layers: bool = False,
        pin: Pin = as_it_is,
    ) -> tuple[Memory, list[Array]]:
        """(memory; the embedding and every block's output, or nothing without keep_layers).

        Args:
          words: the token table [V, D]; the others as in `ofa.OFA.encode`.
        """
        cfg, dtype = self.cfg, jnp.dtype(self.cfg.dtype)
        length = ids.shape[1]
        x = self.text_norm((words[ids] + self.types[TEXT]).astype(dtype))  # [B, L, D]
        seen, positions = ids != PAD, self.positions.of_text(length)
        text, image = text_buckets(length, cfg.buckets), None
        if images is not None:
            grid = self.stem(images.astype(dtype))  # [B, H / 16, W / 16, features]
            cells = grid_cells(*grid.shape[1:3], cfg.side)
            grid = self.image_projection(grid.reshape(len(ids), len(cells), -1))  # [B, I, D]
            grid = self.image_norm(grid + self.types[IMAGE].astype(dtype))
            x = jnp.concatenate([grid, x], axis=1)  # [B, S, D]
            there = jnp.ones(len(ids), bool) if valid is None else valid.astype(bool)
            there = jnp.broadcast_to(there[:, None], (len(ids), len(cells)))
            seen = jnp.concatenate([there, seen], axis=1)  # [B, S]
            positions = jnp.concatenate([self.positions.of_cells(cells), positions])  # [S, D]
            image = image_buckets(cells, cfg.side)
        x = x * seen[..., None].astype(dtype)
        bias = self.bias(positions, positions)[None]  # [1, N, S, S]
        front = Front.of(prefix, cfg.layers[0], dtype)

        def run(inputs, x, _, key):
            block, front, adapter = inputs
            far = x.shape[1] - length  # text and image have no distance between them
            own = jnp.pad(looked_up(block.text_table, text), [(0, 0), (far, 0), (far, 0)])
            if image is not None:
                own += jnp.pad(looked_up(block.image_table, image), [(0, 0), *[(0, length)] * 2])
            return block(x, seen[:, None], bias + own, front, adapter, key)

        stack = types.SimpleNamespace(layers=cfg.layers[0], dropout=cfg.dropout, remat=cfg.remat)
        inputs = (self.blocks, front, adapters)
        last, kept = run_blocks(
            stack, inputs, x, None, run, key=key, keep_layers=keep_layers, pin=pin
        )
        return Memory(self.norm(last), seen, positions), [] if kept is None else [x, *kept]


def self_keys_and_values(blocks: Any, inputs: list[Array]) -> Array:
    """Those of self-attention for every block's input [B, S, D] -> [B, layers, 2, S, D]."""

    def one(block: Any, x: Array) -> Array:
        pair = block.attention.keys_and_values(block.attention_norm(x))
        return jnp.stack(pair, axis=1).reshape(len(x), 2, x.shape[1], -1)  # [B, 2, S, D]

    return jnp.swapaxes(jax.vmap(one)(blocks, jnp.stack(inputs)), 0, 1)

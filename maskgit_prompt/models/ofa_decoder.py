"""OFA's decoder: texts or image codes token by token, all at once or one after the other.

Shapes: B batch, K beams, T tokens, S what the encoder made, P prompt tokens, D width, N heads, H
width of a head, V vocabulary.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, struct

from maskgit_prompt.models.attention import visible
from maskgit_prompt.models.cache import Cache
from maskgit_prompt.models.layers import Pin, as_it_is, run_blocks
from maskgit_prompt.models.ofa_blocks import (
    EPSILON,
    DecoderBlock,
    Front,
    widened_bias,
    widened_mask,
)
from maskgit_prompt.models.ofa_encoder import Memory
from maskgit_prompt.models.ofa_positions import (
    PositionBias,
    Positions,
    code_cells,
    image_buckets,
    looked_up,
    text_buckets,
)
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.models.specials import PAD

Array = jax.Array


@struct.dataclass
class Decoding:
    """What the decoder has read, in arrays that never grow.

    Attributes:
      cache: keys and values of self-attention for B · K rows, the prefix's first.
      cross: keys and values of the memory, the prefix's first, 2 of [layers, B, P + S, N, H].
      bias: of the prefix, [layers, B · K, P] or None; cross_bias: [layers, B, P] or None.
      positions: position vectors of all T tokens, [B · K or 1, T, D].
      keys, cross_keys: their keys [B · K or 1, T, N, H], and those of the memory [S, N, H].
      codes: bool [B · K], which rows are image codes, or None.
    """

    cache: Cache
    cross: tuple[Array, Array]
    bias: Array | None
    cross_bias: Array | None
    positions: Array
    keys: Array
    cross_keys: Array
    codes: Array | None

    @property
    def length(self) -> int:
        """T."""
        return self.positions.shape[1]

    @property
    def front(self) -> int:
        """P of self-attention."""
        return self.cache.slots - self.length

    def rearranged(self, rows: Array) -> "Decoding":
        """What rows [B · K] have read, as beams go on: row i continues row rows[i].

        Rows must stay among the beams of their own example.
        """
        return self.replace(cache=jax.tree.map(lambda x: x[:, rows], self.cache))


class Decoder(nnx.Module):
    """cfg: as in `ofa.OFAConfig`."""

    def __init__(self, cfg: Any, *, rngs: nnx.Rngs):
        dtype, width = jnp.dtype(cfg.dtype), cfg.width
        norm = lambda: nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.cfg = cfg
        self.text_norm = norm()
        self.code_norm = norm()
        self.positions = Positions(cfg, dtype, rngs=rngs)
        self.bias = PositionBias(width, cfg.heads[1], dtype, rngs=rngs)
        self.cross_bias = PositionBias(width, cfg.heads[1], dtype, rngs=rngs)
        # One DecoderBlock whose every parameter has a leading dimension of layers.
        self.blocks = jax.vmap(lambda rngs: DecoderBlock(cfg, rngs=rngs))(rngs.split(cfg.layers[1]))
        self.norm = norm()

    def hidden(
        self,
        words: Array,
        memory: Memory,
        ids: Array,
        prefixes: Prefixes,
        *,
        codes: Array | None = None,
        adapters: Any = None,
        key: Array | None = None,
        keep_layers: bool = False,
        pin: Pin = as_it_is,
    ) -> tuple[Array, list[Array]]:
        """([B, T, D] before the last norm; the embedding and every block's output, or nothing).

        Args:
          words: the token table [V, D]; the others as in `ofa.OFA.decode`.
        """
        cfg = self.cfg
        x = self._embedded(words, ids, codes)  # [B, T, D]
        mask, bias, cross_bias, distances = self._around(memory, ids, codes)

        def run(inputs, x, _, key):
            block, front, cross_front, adapter = inputs
            own = bias + distances(block)
            return block(
                x, mask, own, memory.seen, cross_bias, memory.x, front, cross_front, adapter, key
            )

        stack = types.SimpleNamespace(layers=cfg.layers[1], dropout=cfg.dropout, remat=cfg.remat)
        inputs = (self.blocks, *self._fronts(prefixes), adapters)
        last, kept = run_blocks(
            stack, inputs, x, None, run, key=key, keep_layers=keep_layers, pin=pin
        )
        return last, [] if kept is None else [x, *kept]

    def attended(
        self,
        words: Array,
        memory: Memory,
        ids: Array,
        prefixes: Prefixes,
        codes: Array | None = None,
    ) -> Array:
        """How much the last block attends to the memory, mean of heads, [B, T, S].

        Of a cross-attention prefix nothing is shown; the rest then sums to less than 1.
        """
        _, layers = self.hidden(words, memory, ids, prefixes, codes=codes, keep_layers=True)
        mask, bias, cross_bias, distances = self._around(memory, ids, codes)
        inputs = (self.blocks, *self._fronts(prefixes))
        block, front, cross_front = jax.tree.map(lambda leaf: leaf[-1], inputs)
        x = block.read(layers[-2], mask, bias + distances(block), front)
        seen = jnp.broadcast_to(memory.seen[:, None], (*x.shape[:2], memory.x.shape[1]))
        x = block.cross_norm(x)
        shares = block.cross.shares(x, memory.x, seen, cross_bias, cross_front)
        return shares[..., shares.shape[-1] - memory.x.shape[1] :]

    def _embedded(self, words: Array, ids: Array, codes: Array | None) -> Array:
        """[B, T] -> [B, T, D]."""
        x = words[ids].astype(self.cfg.dtype)
        if codes is None:
            return self.text_norm(x)
        return jnp.where(codes[:, None, None], self.code_norm(x), self.text_norm(x))

    def _around(self, memory: Memory, ids: Array, codes: Array | None):
        """(mask [B, T, T], bias [B or 1, N, T, T] and cross bias [B or 1, N, T, S] of all layers,
        function of a block that gives its own [B or 1, N, T, T])."""
        length = ids.shape[1]
        positions = self._positions(length, codes)
        mask = jnp.asarray(visible(length, 0)) & (ids != PAD)[:, None]
        distances = lambda block: self._distances(block, self._buckets(length, codes), codes)
        bias = self.bias(positions, positions)
        return mask, bias, self.cross_bias(positions, memory.positions), distances

    def _positions(self, length: int, codes: Array | None) -> Array:
        """Position vectors, [B or 1, T, D]."""
        text = self.positions.of_text(length)[None]
        if codes is None:
            return text
        cells = code_cells(length, self.cfg.window, self.cfg.side)
        return jnp.where(codes[:, None, None], self.positions.of_cells(cells), text)

    def _buckets(self, length: int, codes: Array | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of the tables of texts and of image codes, if there are any, [T, T] each."""
        text = text_buckets(length, self.cfg.buckets)
        if codes is None:
            return text, None
        cells = code_cells(length, self.cfg.window, self.cfg.side)
        return text, image_buckets(cells, self.cfg.side)

    def _distances(self, block: DecoderBlock, buckets: tuple, codes: Array | None) -> Array:
        """A block's biases by distance, [B or 1, N, T, S]."""
        text = looked_up(block.text_table, buckets[0])[None]
        if codes is None:
            return text
        image = looked_up(block.image_table, buckets[1])
        return jnp.where(codes[:, None, None, None], image, text)

    def _fronts(self, prefixes: Prefixes) -> tuple[Front | None, Front | None]:
        """Prefixes of all layers for self-attention and for cross-attention."""
        layers, dtype = self.cfg.layers[1], jnp.dtype(self.cfg.dtype)
        return tuple(Front.of(one, layers, dtype) for one in (prefixes.decoder, prefixes.cross))

    def keys_and_values(self, memory: Memory) -> Array:
        """Those of the memory for cross-attention, [B, layers, 2, S, D]."""
        one = lambda block: jnp.stack(block.cross.keys_and_values(memory.x), axis=1)
        found = jnp.swapaxes(jax.vmap(one)(self.blocks), 0, 1)  # [B, layers, 2, S, N, H]
        return found.reshape(*found.shape[:4], -1)

    # Step by step, for decoding: the same numbers as from the whole sequence.

    def start(
        self,
        memory: Memory,
        length: int,
        prefixes: Prefixes,
        *,
        beams: int = 1,
        codes: Array | None = None,
    ) -> Decoding:
        """Nothing read yet; arguments as in `ofa.OFA.start`."""
        cfg, dtype = self.cfg, jnp.dtype(self.cfg.dtype)
        many = lambda x, axis: x if x is None else jnp.repeat(x, beams, axis=axis)
        codes = many(codes, 0)
        front, cross_front = self._fronts(prefixes)
        heads = cfg.heads[1]
        slots = length + (0 if front is None else front.tokens)
        cache = Cache.empty(
            cfg.layers[1], len(memory) * beams, heads, slots, cfg.width // heads, dtype
        )
        if front is not None:
            own = many(self.blocks.attention.heads(front.vectors), 1)
            cache = cache.write_front(own[:, :, 0], own[:, :, 1])  # [layers, B · K, P, N, H]

        def of_memory(block, cross_front):
            return block.cross.fronted(cross_front, *block.cross.keys_and_values(memory.x))

        positions = self._positions(length, codes)
        return Decoding(
            cache=cache,
            cross=jax.vmap(of_memory)(self.blocks, cross_front),
            bias=None if front is None else many(front.bias, 1),
            cross_bias=None if cross_front is None else cross_front.bias,
            positions=positions,
            keys=self.bias.key(positions),
            cross_keys=self.cross_bias.key(memory.positions),
            codes=codes,
        )

    def step(
        self,
        words: Array,
        memory: Memory,
        state: Decoding,
        ids: Array,
        position: Array,
        *,
        adapters: Any = None,
        pin: Pin = as_it_is,
    ) -> tuple[Array, Decoding]:
        """(hidden [B · K, 1, D] before the last norm, what was read); as in `ofa.OFA.step`."""
        x = self._embedded(words, ids[:, None], state.codes)  # [B · K, 1, D]
        here = jax.lax.dynamic_slice_in_dim(state.positions, position, 1, axis=1)
        bias = self.bias.between(here, state.keys)  # [B · K or 1, N, 1, T]
        cross_bias = self.cross_bias.between(here, state.cross_keys)  # [B · K or 1, N, 1, S]
        if len(cross_bias) > 1:  # the beams of an example are queries of one memory
            cross_bias = cross_bias.reshape(len(memory), -1, *cross_bias.shape[1:])
            cross_bias = jnp.moveaxis(cross_bias[:, :, :, 0], 1, 2)  # [B, N, K, S]
        rows = [
            None if table is None else jnp.asarray(table)[position][None]  # [1, T]
            for table in self._buckets(state.length, state.codes)
        ]
        slot, tokens = state.front + position, state.front
        mask = (jnp.arange(state.cache.slots) <= slot)[None]  # [1, P + T]
        cross_tokens = state.cross[0].shape[2] - memory.x.shape[1]
        seen = widened_mask(memory.seen, cross_tokens)

        def layer(carry, inputs):
            x, cache = carry
            block, number, (k, v), own, cross_own, adapter = inputs
            both = widened_bias(bias + self._distances(block, rows, state.codes), tokens, own)
            x, cache = block.extend(x, cache, number, slot, mask, both)
            x = block.cross_extend(x, k, v, seen, widened_bias(cross_bias, cross_tokens, cross_own))
            return (pin(block.end(x, adapter)), cache), None

        layers = jnp.arange(self.cfg.layers[1])
        inputs = (self.blocks, layers, state.cross, state.bias, state.cross_bias, adapters)
        (x, cache), _ = jax.lax.scan(layer, (pin(x), state.cache), inputs)
        return x, state.replace(cache=cache)

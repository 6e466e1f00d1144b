"""The blocks of OFA's encoder and decoder (arXiv 2202.03052), whose branches end in norms.

x += LN(attention(LN(x))), in the decoder then x += LN(cross-attention(LN(x))), and
x += mlp(LN(x)) with a norm behind the MLP's GELU. A scalar weighs every head.

Shapes: B batch, T queries, S keys, P prompt tokens, D width, N heads, H width of a head.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from maskgit_prompt.models.attention import Attention, attention
from maskgit_prompt.models.cache import Cache
from maskgit_prompt.models.layers import Mlp, dropout
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

EPSILON = 1e-5
# Added to the weights of a prefix's tokens before their logarithm. A token of weight 0 is then as
# good as absent (float32 adds nothing of it to a sum), but its weight has a gradient.
ALMOST_NOTHING = 1e-25


@struct.dataclass
class Front:
    """What stands in front of one layer's keys and values, or, stacked, of all layers'.

    Attributes:
      vectors: [B, 2, P, D], keys and values.
      bias: [B, P], added to the logits; None: nothing.
    """

    vectors: Array
    bias: Array | None = None

    @classmethod
    def of(cls, prompt: Prompt | None, layers: int, dtype: jnp.dtype) -> "Front | None":
        """A prefix's [layers, B, 2, P, D], or None.

        Raises:
          ValueError: a prompt of another place, or for another number of layers.
        """
        if prompt is None:
            return None
        if prompt.place != "prefix" or prompt.prefix.shape[1] != layers:
            raise ValueError(
                f"prompt of {prompt.place} {prompt.array.shape}, expected a prefix for the "
                f"{layers} layers"
            )
        bias, weights = None, prompt.weights
        if weights is not None:
            weights = jnp.swapaxes(jnp.where(weights >= 0, weights, 0), 0, 1)  # [layers, B, P]
            bias = jnp.log(weights.astype(jnp.float32) + ALMOST_NOTHING)
        return cls(jnp.swapaxes(prompt.prefix, 0, 1).astype(dtype), bias)

    @property
    def tokens(self) -> int:
        """P."""
        return self.vectors.shape[-2]


def widened_bias(bias: Array, tokens: int, own: Array | None) -> Array:
    """A bias [B or 1, N, T, S] for P tokens in front of the keys, [B or 1, N, T, P + S].

    They have none but their own [B, P].
    """
    count = bias.shape[-1]
    bias = jnp.pad(bias, [(0, 0), (0, 0), (0, 0), (tokens, 0)])
    return bias if own is None else bias + jnp.pad(own, [(0, 0), (0, count)])[:, None, None]


def widened_mask(mask: Array, tokens: int) -> Array:
    """A mask [..., S] for P tokens in front of the keys, which every query sees, [..., P + S]."""
    return jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(tokens, 0)], constant_values=True)


class HeadScaled(Attention):
    """Attention of self or cross, a scalar weight for each head, and a norm behind.

    Logits are scaled by 1 / √(2 H), as those of the position biases are.
    """

    def __init__(self, width: int, heads: int, cfg: Any, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        implementation = cfg.attention_implementation
        super().__init__(width, heads, implementation=implementation, dtype=dtype, rngs=rngs)
        self.scales = nnx.Param(jnp.ones(heads))
        self.norm = nnx.LayerNorm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def keys_and_values(self, x: Array) -> tuple[Array, Array]:  # [B, S, D] -> 2 of [B, S, N, H]
        return self.key(x), self.value(x)

    def fronted(self, front: Front | None, k: Array, v: Array) -> tuple[Array, Array]:
        """Keys and values [B, S, N, H] behind those of a prefix, [B, P + S, N, H]."""
        if front is None:
            return k, v
        own = self.heads(front.vectors)  # [B, 2, P, N, H]
        return jnp.concatenate([own[:, 0], k], axis=1), jnp.concatenate([own[:, 1], v], axis=1)

    def attend(self, q: Array, k: Array, v: Array, mask: Array, bias: Array) -> Array:
        """[B, T, N, H] in [B, S, N, H] -> [B, T, D]; mask, bias: as in `attention`."""
        found = attention(q * 2**-0.5, k, v, mask, self.implementation, bias)
        return self.norm(self.out(found * self.scales[:, None].astype(found.dtype)))

    def within(
        self,
        x: Array,
        context: Array,
        mask: Array,
        bias: Array,
        front: Front | None,
    ) -> Array:
        """What [B, T, D] finds in context [B, S, D] and the prefix -> [B, T, D].

        mask, bias: of the context, as in `attention`.
        """
        return self.attend(self.query(x), *self._widened(context, mask, bias, front))

    def shares(
        self, x: Array, context: Array, mask: Array, bias: Array, front: Front | None
    ) -> Array:
        """How much each of [B, T, D] attends to each of context, mean of heads, [B, T, P + S]."""
        k, _, mask, bias = self._widened(context, mask, bias, front)
        q = self.query(x) * (2 * k.shape[-1]) ** -0.5
        logits = jnp.einsum("btnh,bsnh->bnts", q, k, preferred_element_type=jnp.float32) + bias
        logits = jnp.where(mask[:, None], logits, -jnp.inf)
        return jnp.mean(jax.nn.softmax(logits), axis=1)

    def _widened(
        self, context: Array, mask: Array, bias: Array, front: Front | None
    ) -> tuple[Array, Array, Array, Array]:
        """(keys, values, mask, bias) of context, with those of a prefix in front."""
        k, v = self.fronted(front, *self.keys_and_values(context))
        if front is None:
            return k, v, mask, bias
        mask = widened_mask(mask, front.tokens)
        return k, v, mask, widened_bias(bias, front.tokens, front.bias)


class NormedMlp(Mlp):
    """Dense, exact GELU, norm, dense."""

    def __init__(self, width: int, hidden: int, dtype: jnp.dtype, *, rngs: nnx.Rngs):
        super().__init__(width, hidden, approximate=False, dtype=dtype, rngs=rngs)
        self.norm = nnx.LayerNorm(hidden, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.down(self.norm(jax.nn.gelu(self.up(x), approximate=self.approximate)))


class EncoderBlock(nnx.Module):
    """Self-attention and MLP, with a table for distances in texts and one for images.

    stack: the number of the stack in the config's pairs, 0 for the encoder, 1 for the decoder.
    """

    def __init__(self, cfg: Any, stack: int = 0, *, rngs: nnx.Rngs):
        dtype, heads = jnp.dtype(cfg.dtype), cfg.heads[stack]
        norm = lambda: nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.rate = cfg.dropout
        self.attention_norm = norm()
        self.attention = HeadScaled(cfg.width, heads, cfg, rngs=rngs)
        self.mlp_norm = norm()
        self.mlp = NormedMlp(cfg.width, cfg.mlp[stack], dtype, rngs=rngs)
        self.text_table = nnx.Param(jnp.zeros((2 * cfg.buckets - 1, heads)))
        self.image_table = nnx.Param(jnp.zeros(((2 * cfg.side - 1) ** 2 + 3, heads)))

    def __call__(
        self,
        x: Array,
        mask: Array,
        bias: Array,
        front: Front | None = None,
        adapter: Any = None,
        key: Array | None = None,
    ) -> Array:
        """[B, S, D] -> the same.

        Args:
          mask: bool [B, S or 1, S]; bias: [B or 1, N, S, S], that of this layer included.
          front: this layer's prefix.
          adapter: maps the MLP's output [B, S, D] inside the residual (arXiv 2007.07779).
        """
        keys = (None, None) if key is None else jax.random.split(key)
        y = self.attention_norm(x)
        y = self.attention.within(y, y, mask, bias, front)
        return self.end(x + dropout(y, self.rate, keys[0]), adapter, keys[1])

    def end(self, x: Array, adapter: Any, key: Array | None = None) -> Array:
        """x + mlp(LN(x)), with an adapter."""
        y = self.mlp(self.mlp_norm(x))
        return x + dropout(y if adapter is None else adapter(y), self.rate, key)


class DecoderBlock(EncoderBlock):
    """Self-attention, cross-attention, MLP."""

    def __init__(self, cfg: Any, *, rngs: nnx.Rngs):
        super().__init__(cfg, 1, rngs=rngs)
        dtype = jnp.dtype(cfg.dtype)
        self.cross_norm = nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.cross = HeadScaled(cfg.width, cfg.heads[1], cfg, rngs=rngs)

    def __call__(
        self,
        x: Array,
        mask: Array,
        bias: Array,
        seen: Array,
        cross_bias: Array,
        context: Array,
        front: Front | None = None,
        cross_front: Front | None = None,
        adapter: Any = None,
        key: Array | None = None,
    ) -> Array:
        """[B, T, D] -> the same.

        Args:
          mask, bias, front, adapter: as in EncoderBlock.
          seen: bool [B, S], which of context is there; cross_bias: [B or 1, N, T, S].
          context: what the encoder made, [B, S, D]; cross_front: this layer's prefix of it.
        """
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        x = self.read(x, mask, bias, front, keys[0])
        y = self.cross.within(self.cross_norm(x), context, seen[:, None], cross_bias, cross_front)
        return self.end(x + dropout(y, self.rate, keys[1]), adapter, keys[2])

    def read(
        self, x: Array, mask: Array, bias: Array, front: Front | None, key: Array | None = None
    ) -> Array:
        """x + attention(LN(x)) alone, [B, T, D] -> the same."""
        y = self.attention_norm(x)
        return x + dropout(self.attention.within(y, y, mask, bias, front), self.rate, key)

    def extend(
        self, x: Array, cache: Cache, layer: Array, slot: Array, mask: Array, bias: Array
    ) -> tuple[Array, Cache]:
        """The same as `read`, for one token x [B, 1, D] that stands at a slot of the cache."""
        q, k, v = self.attention.project(self.attention_norm(x))
        cache = cache.write(layer, slot, k, v)
        return x + self.attention.attend(q, *cache.read(layer), mask, bias), cache

    def cross_extend(self, x: Array, k: Array, v: Array, seen: Array, bias: Array) -> Array:
        """x + cross-attention(LN(x)) for one token of each of K beams, [B · K, 1, D].

        k, v: [B, P + S, N, H]; seen: bool [B, P + S]; bias: [B or 1, N, K or 1, P + S].
        """
        q = self.cross.query(self.cross_norm(x))  # [B · K, 1, N, H]
        q = q.reshape(len(k), -1, *q.shape[2:])  # [B, K, N, H]
        bias = jnp.broadcast_to(bias, (*bias.shape[:2], q.shape[1], bias.shape[3]))
        return x + self.cross.attend(q, k, v, seen[:, None], bias).reshape(x.shape)

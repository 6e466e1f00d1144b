"""Keys and values of what a causal transformer has seen, in arrays that never grow.

Shapes: B batch, N heads, S slots, H width of a head, T new tokens.
"""

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array


@struct.dataclass
class Cache:
    """Slot s of every layer holds the key and the value of the sequence's token s.

    Written in place inside a compiled loop: a step costs the same at the first slot and at the
    last. Heads stand before slots, so that a step reads them as they lie.

    Attributes:
      keys, values: [layers, B, N, S, H].
    """

    keys: Array
    values: Array

    @classmethod
    def empty(cls, layers: int, batch: int, heads: int, slots: int, size: int, dtype) -> "Cache":
        zeros = jnp.zeros((layers, batch, heads, slots, size), dtype)
        return cls(zeros, zeros)

    @property
    def slots(self) -> int:
        return self.keys.shape[3]

    def write(self, layer: Array, slot: Array, keys: Array, values: Array) -> "Cache":
        """Puts keys and values [B, T, N, H] at slots slot, slot + 1, … of a layer."""

        def put(all_layers: Array, new: Array) -> Array:
            new = jnp.swapaxes(new, 1, 2)[None].astype(all_layers.dtype)  # [1, B, N, T, H]
            return jax.lax.dynamic_update_slice(all_layers, new, (layer, 0, 0, slot, 0))

        return Cache(put(self.keys, keys), put(self.values, values))

    def attend(self, layer: Array, query: Array, mask: Array) -> Array:
        """What queries [B, T, N, H] find in a layer, [B, T, N, H]; softmax in float32.

        mask: bool [T, S], which slots a query sees.
        """
        keys = jax.lax.dynamic_index_in_dim(self.keys, layer, keepdims=False)  # [B, N, S, H]
        values = jax.lax.dynamic_index_in_dim(self.values, layer, keepdims=False)
        scores = jnp.einsum("btnh,bnsh->bnts", query, keys, preferred_element_type=jnp.float32)
        scores = jnp.where(mask, scores * query.shape[-1] ** -0.5, -jnp.inf)
        weights = jax.nn.softmax(scores).astype(values.dtype)
        return jnp.einsum("bnts,bnsh->btnh", weights, values)

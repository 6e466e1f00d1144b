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

    A compiled loop writes it in place: a step costs the same at the first slot and at the last.
    Heads come before slots, so that a step reads contiguous memory.

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
        """Puts keys and values [B, T, N, H] at slots slot, slot + 1, … of a layer.

        slot: one for all, or [B].
        """

        def put(all_layers: Array, new: Array) -> Array:
            new = jnp.swapaxes(new, 1, 2)[None].astype(all_layers.dtype)  # [1, B, N, T, H]
            if jnp.ndim(slot):
                one = lambda x, new, at: jax.lax.dynamic_update_slice(x, new, (layer, 0, at, 0))
                return jax.vmap(one, (1, 1, 0), 1)(all_layers, new, slot)
            return jax.lax.dynamic_update_slice(all_layers, new, (layer, 0, 0, slot, 0))

        return Cache(put(self.keys, keys), put(self.values, values))

    def write_front(self, keys: Array, values: Array) -> "Cache":
        """Puts keys and values [layers, B, P, N, H] into the first slots of all layers."""

        def put(all_layers: Array, new: Array) -> Array:
            new = jnp.swapaxes(new, 2, 3).astype(all_layers.dtype)  # [layers, B, N, P, H]
            return jax.lax.dynamic_update_slice(all_layers, new, (0, 0, 0, 0, 0))

        return Cache(put(self.keys, keys), put(self.values, values))

    def read(self, layer: Array) -> tuple[Array, Array]:
        """A layer's keys and values, [B, S, N, H] each, whatever the slots hold."""

        def get(all_layers: Array) -> Array:
            one = jax.lax.dynamic_index_in_dim(all_layers, layer, keepdims=False)  # [B, N, S, H]
            return jnp.swapaxes(one, 1, 2)

        return get(self.keys), get(self.values)


@struct.dataclass
class Memory:
    """What a causal transformer has read.

    Attributes:
      cache: keys and values; the prompt's come first.
      slot, position: where an image's first code stands in the cache and in the position table.
      corner: how many slots at the start see each other in both directions.
    """

    cache: Cache
    slot: int = struct.field(pytree_node=False)
    position: int = struct.field(pytree_node=False)
    corner: int = struct.field(pytree_node=False)

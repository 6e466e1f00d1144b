"""What the transformers share. Shapes: B batch, S sequence, P prompt tokens, D width."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

# For stacked pre- or post-norm blocks of attention and MLP.
BLOCK_AXES: Axes = (
    (r"blocks/attention/(query|key|value)/kernel", ("layer", "embed", "heads", "head")),
    (r"blocks/attention/(query|key|value)/bias", ("layer", "heads", "head")),
    (r"blocks/attention/out/kernel", ("layer", "heads", "head", "embed")),
    (r"blocks/mlp/up/kernel", ("layer", "embed", "mlp")),
    (r"blocks/mlp/up/bias", ("layer", "mlp")),
    (r"blocks/mlp/down/kernel", ("layer", "mlp", "embed")),
    (r"blocks/.*/(bias|scale)", ("layer", "embed")),
)
Pin = Callable[[Array], Array]


def as_it_is(x: Array) -> Array:
    return x


def dropout(x: Array, rate: float, key: Array | None) -> Array:
    """Zeroes a share `rate` of x, scales the rest by 1 / (1 - rate); x itself without a key."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


class Mlp(nnx.Module):
    """Dense, GELU, dense. approximate: the GELU's tanh form in place of the error function."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        approximate: bool = True,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.approximate = approximate
        self.up = nnx.Linear(width, hidden, dtype=dtype, kernel_init=kernel_init, rngs=rngs)
        self.down = nnx.Linear(hidden, width, dtype=dtype, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: Array) -> Array:  # [B, S, D] -> [B, S, D]
        return self.down(jax.nn.gelu(self.up(x), approximate=self.approximate))


def kernel_init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Truncated normal of standard deviation 0.02, the initializer of BERT and MaskGIT."""
    return 0.02 * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


def patch_embedding(
    width: int,
    side: int,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
    *,
    channels: int = 3,
    use_bias: bool = True,
) -> nnx.Conv:
    """Images [B, S, S, channels] -> [B, S / side, S / side, width], each patch by itself."""
    return nnx.Conv(
        channels,
        width,
        (side, side),
        strides=side,
        padding="VALID",
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        rngs=rngs,
    )


def per_layer(
    prompt: Prompt | None, layers: int, dtype: jnp.dtype
) -> tuple[Array | None, Array | None]:
    """A prompt's (fresh tokens [layers, B, P, D], prefixes [layers, B, 2, P, D]), None for none.

    Raises:
      ValueError: a prompt for another number of layers, or of another place.
    """
    if prompt is None or prompt.tokens is not None:
        return None, None
    if prompt.place not in ("layers", "prefix"):
        raise ValueError(f"prompt of {prompt.place}, which this transformer does not take")
    if prompt.weights is not None:
        raise ValueError(
            "a prefix with weights (left_out, gated), which this transformer does not take"
        )
    depth = prompt.array.shape[1]
    if depth != layers:
        raise ValueError(
            f"prompt of {prompt.place} {prompt.array.shape}: depth {depth}, expected the {layers} "
            "layers"
        )
    by_layer = jnp.swapaxes(prompt.array, 0, 1).astype(dtype)
    return (by_layer, None) if prompt.prefix is None else (None, by_layer)


def replace_prompt(x: Array, tokens: Array, front: int = 0) -> Array:
    """Replaces rows front to front + P of x [B, S, D], a layer's output, by tokens [B, P, D]."""
    return jnp.concatenate([x[:, :front], tokens, x[:, front + tokens.shape[1] :]], axis=1)


def run_blocks(
    cfg: Any,
    blocks: Any,
    x: Array,
    prompt: Prompt | None,
    run: Callable[[Any, Array, Array | None, Array | None], Array],
    *,
    front: int = 0,
    key: Array | None = None,
    keep_layers: bool = False,
    watch: Callable[[Any, Array, Array | None], Array] | None = None,
    pin: Pin = as_it_is,
) -> tuple[Array, Array | None]:
    """Runs a transformer's stacked blocks one after the other; one is compiled.

    Args:
      cfg: the transformer's: layers; dropout, the rate on x; remat, whether the backward pass
        recomputes what is cheap.
      blocks: a block whose every parameter has a leading dimension of `layers`.
      x: [B, S, D], the prompt in front of all but the first `front` tokens.
      prompt: with tokens or None, x goes through as it is; with layers, fresh tokens replace the
        prompt's at every layer; with a prefix, each layer gets its own, and x does not hold it.
      run: (block, x, the layer's prefix [B, 2, P, D] or None, key or None) -> x.
      key: for dropout; None is deterministic.
      keep_layers: also return every block's output.
      watch: (block, its input, the layer's prefix) -> what to return of every block in its place.
      pin: called with every block's output; fixes where it lies on a mesh.

    Returns:
      ([B, S, D], [layers, B, S, D], what was watched [layers, …], or None).

    Raises:
      ValueError: a prompt for another number of layers.
    """
    tokens, prefix = per_layer(prompt, cfg.layers, x.dtype)
    x, keys = pin(x), None
    if key is not None:
        first, *_ = keys = jax.random.split(key, cfg.layers + 1)
        x = dropout(x, cfg.dropout, first)
        keys = keys[1:]

    def layer(x, inputs):
        block, tokens, prefix, key = inputs
        if tokens is not None:
            x = replace_prompt(x, tokens, front)
        seen = None if watch is None else watch(block, x, prefix)
        x = pin(run(block, x, prefix, key))
        return x, x if keep_layers else seen

    if cfg.remat:
        # Keep matrix products, which take the time; recompute attention weights and GELUs.
        kept = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        layer = jax.checkpoint(layer, prevent_cse=False, policy=kept)
    return jax.lax.scan(layer, x, (blocks, tokens, prefix, keys))

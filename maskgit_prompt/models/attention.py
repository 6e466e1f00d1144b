"""Attention: one function for all networks with several implementations, and a module around it.

Shapes: B batch, T queries, S keys, P prompt tokens, D width, N heads, H width of a head.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx

from maskgit_prompt.models.layers import kernel_init

Array = jax.Array

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "tokamax")
CUDNN_DTYPES = ("bfloat16", "float16")
CUDNN_SIZE = 128  # the widest head that every GPU of `backend` "cuda" takes


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | np.ndarray | None = None,
    implementation: str = "auto",
    bias: Array | None = None,
) -> Array:
    """softmax(q kᵀ / √H + bias) v for each head (arXiv 1706.03762, eq. 1), [B, T, N, H].

    The softmax runs in float32. Implementations agree up to rounding:

      "xla": jax.nn.dot_product_attention. Runs everywhere; holds T x S weights for each head.
      "cudnn": the same function with cuDNN's fused kernels, which never hold these weights. As of
        jax 0.10.2 they need an NVIDIA GPU, bfloat16 or float16, and H a multiple of 8 up to 128
        (256 from compute capability 9.0 on, which no transformer here needs). A gradient needs even
        T and S, so odd ones are padded (jax documents this for masks only, but checks it always).
      "tokamax": dot_product_attention of https://github.com/openxla/tokamax, an optional package
        that picks its own kernel for the device: Mosaic, Triton, or what XLA makes.
      "auto": "cudnn" where it runs, "xla" elsewhere (see `choose`) and for one query: a decoding
        step has few weights to hold, and XLA reads the cache as it lies.

    Args:
      q: [B, T, N, H].
      k, v: [B, S, N, H], of q's dtype.
      mask: bool [T, S], which query (row) sees which key (column), at least one each, or
        [B, T or 1, S] for every sequence its own; None: every query sees every key.
      implementation: one of IMPLEMENTATIONS.
      bias: [N, T, S] or [B or 1, N, T, S], added to the logits; None: nothing.

    Raises:
      ValueError: as in `check`.
    """
    queries = q.shape[1]
    if implementation == "auto" and queries == 1:
        implementation = "xla"
    chosen = choose(implementation, backend(), q.dtype.name, q.shape[-1])
    if chosen == "cudnn":
        q, k, v, mask, bias = _even(q, k, v, mask, bias)
    if mask is not None:
        mask = mask[None, None] if mask.ndim == 2 else mask[:, None]  # [B or 1, 1, T or 1, S]
    if bias is not None and bias.ndim == 3:
        bias = bias[None]  # [1, N, T, S]
    if chosen == "tokamax":
        return _tokamax().dot_product_attention(q, k, v, mask=mask, bias=bias)
    found = jax.nn.dot_product_attention(q, k, v, bias, mask, implementation=chosen)
    return found[:, :queries]


def weights(q: Array, k: Array, mask: Array | np.ndarray | None = None) -> Array:
    """softmax(q kᵀ / √H) for each head, [B, N, T, S] float32: what `attention` multiplies v by.

    For looking at: no implementation of `attention` makes it.

    Args:
      q: [B, T, N, H]. k: [B, S, N, H]. mask: bool [T, S], as in `attention`.
    """
    logits = jnp.einsum("btnh,bsnh->bnts", q, k, preferred_element_type=jnp.float32)
    logits = logits / q.shape[-1] ** 0.5
    return jax.nn.softmax(logits if mask is None else jnp.where(mask, logits, -jnp.inf))


def choose(implementation: str, backend: str, dtype: str, size: int) -> str:
    """The implementation that a name stands for: "xla", "cudnn" or "tokamax".

    "auto" with heads of 64 is "cudnn" on "cuda" in bfloat16 and float16, and "xla" in float32, on
    "cpu", "tpu" and any other "gpu". Every other name stands for itself.

    Args:
      backend: as `backend` gives it.
      size: H.

    Raises:
      ValueError: an unknown name, or "cudnn" for a device, dtype or size that it does not support.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"attention = {implementation!r}, expected one of {', '.join(IMPLEMENTATIONS)}"
        )
    lacking = ""
    if backend != "cuda":
        lacking = f"an NVIDIA GPU of compute capability 8.0 or more, but this is a {backend}"
    elif dtype not in CUDNN_DTYPES:
        lacking = f"dtype {' or '.join(CUDNN_DTYPES)}, not {dtype}"
    elif size % 8 or size > CUDNN_SIZE:
        lacking = f"heads whose width is a multiple of 8 up to {CUDNN_SIZE}, not {size}"
    if implementation == "auto":
        return "xla" if lacking else "cudnn"
    if implementation == "cudnn" and lacking:
        raise ValueError(f"attention = 'cudnn' needs {lacking}; use auto or xla")
    return implementation


def check(implementation: str, dtype: str, size: int) -> None:
    """Raises ValueError where `attention` would: as in `choose`, or tokamax is not installed."""
    if choose(implementation, backend(), dtype, size) == "tokamax":
        _tokamax()


def check_heads(width: int, heads: int) -> None:
    """Raises ValueError unless the width divides into heads of equal width."""
    if width % heads:
        raise ValueError(f"width {width} does not divide into {heads} heads")


def backend() -> str:
    """The kind of device: "cpu", "tpu", "gpu"; "cuda" where cuDNN's fused attention runs."""
    device = jax.local_devices()[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return device.platform
    return "cuda" if float(device.compute_capability) >= 8.0 else "gpu"


def visible(size: int, corner: int) -> np.ndarray:
    """Which tokens (columns) a token (row) sees: itself and those before it.

    The first `corner` tokens all see each other.

    visible(3, 0) is 100 110 111, visible(3, 2) is 110 110 111, bool [S, S].
    """
    i = np.arange(size)
    return (i[None, :] <= i[:, None]) | (np.maximum(i[None, :], i[:, None]) < corner)


class Attention(nnx.Module):
    """Multi-head self-attention with biases; implementation: as in `attention`."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        implementation: str = "auto",
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def project(features: int | tuple[int, ...], axis: int | tuple[int, ...], inputs):
            return nnx.LinearGeneral(
                inputs, features, axis=axis, dtype=dtype, kernel_init=kernel_init, rngs=rngs
            )

        size = (heads, width // heads)
        self.implementation = implementation
        self.query = project(size, -1, width)
        self.key = project(size, -1, width)
        self.value = project(size, -1, width)
        self.out = project(width, (-2, -1), size)

    def project(self, x: Array) -> tuple[Array, Array, Array]:
        """[B, S, D] -> queries, keys and values, [B, S, N, H] each."""
        return self.query(x), self.key(x), self.value(x)

    def heads(self, x: Array) -> Array:
        """Splits the width, [..., D] -> [..., N, H]: what a prefix's keys and values need."""
        return x.reshape(*x.shape[:-1], *self.out.in_features)

    def attend(self, q: Array, k: Array, v: Array, mask: Array | np.ndarray | None) -> Array:
        """What queries [B, T, N, H] find in keys and values [B, S, N, H] -> [B, T, D].

        mask: bool [T, S], as in `attention`.
        """
        return self.out(attention(q, k, v, mask, self.implementation))

    def __call__(
        self, x: Array, mask: np.ndarray | None = None, prefix: Array | None = None
    ) -> Array:
        """[B, S, D] -> [B, S, D].

        Args:
          mask: bool [S, S], which token (row) sees which; None: every token sees every token.
          prefix: [B, 2, P, D], keys and values that every token sees (arXiv 2101.00190, eq. 3).
        """
        return self.attend(*self._seen(x, mask, prefix))

    def weights(
        self, x: Array, mask: np.ndarray | None = None, prefix: Array | None = None
    ) -> Array:
        """How much each token looks at each, [B, N, S, P + S] float32; arguments as of a call.

        A prefix's columns come first; without one P is 0.
        """
        q, k, _, mask = self._seen(x, mask, prefix)
        return weights(q, k, mask)

    def _seen(
        self, x: Array, mask: np.ndarray | None, prefix: Array | None
    ) -> tuple[Array, Array, Array, np.ndarray | None]:
        """(queries, keys and values with a prefix in front, the mask of them)."""
        q, k, v = self.project(x)
        if prefix is not None:
            front = self.heads(prefix.astype(k.dtype))  # [B, 2, P, N, H]
            k = jnp.concatenate([front[:, 0], k], axis=1)  # [B, P + S, N, H]
            v = jnp.concatenate([front[:, 1], v], axis=1)
            if mask is not None:  # [S, P + S]
                mask = np.pad(mask, [(0, 0), (prefix.shape[2], 0)], constant_values=True)
        return q, k, v, mask


def _even(
    q: Array, k: Array, v: Array, mask: Array | np.ndarray | None, bias: Array | None
) -> tuple[Array, Array, Array, Array | np.ndarray | None, Array | None]:
    """The same with even T and S: an added query sees all keys, and no query sees an added key.

    The bias is also made of q's dtype, as cuDNN wants it.
    """
    rows, columns = q.shape[1] % 2, k.shape[1] % 2
    edge = lambda x, *ends: jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, end) for end in ends])
    if bias is not None:
        bias = edge(bias.astype(q.dtype), rows, columns)
    if not rows and not columns:
        return q, k, v, mask, bias
    if mask is None:
        mask = np.ones((q.shape[1], k.shape[1]), bool)
    if mask.shape[-2] > 1:  # one row is every query's
        mask = ~edge(~jnp.asarray(mask), rows, 0)
    mask = edge(mask, 0, columns)  # [..., T + rows or 1, S + columns]
    behind = lambda x, count: jnp.pad(x, [(0, 0), (0, count), (0, 0), (0, 0)])
    return behind(q, rows), behind(k, columns), behind(v, columns), mask, bias


def _tokamax():
    """The module, or ValueError where it is not installed."""
    try:
        import tokamax
    except ModuleNotFoundError as error:
        raise ValueError(
            f"attention = 'tokamax', but {error.name} is not installed: pip install -e "
            "'.[tokamax]', or use auto or xla"
        ) from error
    if not flags.FLAGS.is_parsed():
        # tokamax reads its settings from absl's flags, and would parse this program's arguments.
        flags.FLAGS.mark_as_parsed()
    return tokamax

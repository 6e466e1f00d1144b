"""A backbone's parts as functions of numpy arrays, compiled once, in batches over the mesh."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.backbones.backbone import Part
from maskgit_prompt.devices import sharding

ROWS = 32  # images per device at once, if they are small
PIXELS = 2**18  # most pixels per device at once: 4 images of 256 x 256


def make_encoder(part: Part, mesh, dtype: str = "float32") -> tuple[Callable, int]:
    """(uint8 [batch, S, S, 3] -> int32 codes [batch, L], the batch size that it takes)."""
    encode = _compiled(part, mesh, _encode, dtype=dtype)
    return encode, rows(part.cfg.image_size) * mesh.size


def _compiled(
    part: Part,
    mesh,
    compute: Callable[[nnx.Module, jax.Array], jax.Array],
    dtype: str = "",
) -> Callable[[np.ndarray], np.ndarray]:
    """compute(the part's module, a batch), compiled; takes and gives arrays on every host.

    dtype: of activations; empty: the part's own.
    """
    graphdef = part.graphdef(dataclasses.replace(part.cfg, dtype=dtype) if dtype else None)
    weights = part.placed(mesh)
    run = _jitted(graphdef, compute)

    def one(x: np.ndarray) -> np.ndarray:
        with jax.set_mesh(mesh):
            found = run(weights, sharding.to_global({"x": x}, mesh)["x"])
        return sharding.to_host(found, mesh)

    return one


@functools.cache
def _jitted(graphdef: nnx.GraphDef, compute: Callable) -> Callable:
    """One function for all callers, so that a model is compiled only once."""
    return jax.jit(lambda weights, x: compute(nnx.merge(graphdef, weights), x))


def _encode(model: nnx.Module, x: jax.Array) -> jax.Array:
    return model.encode(x.astype(jnp.float32) / 255)


def _decode(model: nnx.Module, x: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(model.decode(x) * 255), 0, 255).astype(jnp.uint8)


def _features(model: nnx.Module, x: jax.Array) -> jax.Array:
    return model.features(x.astype(jnp.float32) / 255)


def make_decoder(part: Part, mesh, dtype: str = "float32") -> Callable[[np.ndarray], np.ndarray]:
    """A function: int codes [n, L], any n -> uint8 images [n, S, S, 3], rounded and clipped."""

    decode = _compiled(part, mesh, _decode, dtype=dtype)
    size = rows(part.cfg.image_size) * mesh.size
    return lambda codes: in_batches(decode, np.asarray(codes, np.int32), size)


def make_features(part: Part, mesh) -> Callable[[np.ndarray], np.ndarray]:
    """A function: uint8 images [n, S, S, 3], any n -> features [n, F] float32."""
    features = _compiled(part, mesh, _features)
    return lambda images: in_batches(features, images, ROWS * mesh.size)


def rows(image_size: int) -> int:
    """How many images each device encodes or decodes at once: 32 of 32 x 32, 16 of 128 x 128."""
    return max(1, min(ROWS, PIXELS // image_size**2))


def in_batches(one: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: int) -> np.ndarray:
    """Runs `one` on `size` rows of x at a time; repeats a row to fill the last batch, then cuts."""
    parts = []
    for first in range(0, len(x), size):
        rows = x[first : first + size]
        padded = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
        parts.append(one(padded)[: len(rows)])
    return np.concatenate(parts)

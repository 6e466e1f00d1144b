"""Where every array lives: logical axes -> mesh axes, and how batches reach the devices.

This is the only file that knows meshes. Networks name the logical axes of their parameters
(models/), and this file decides which mesh axis splits each. The mesh has the axes data, fsdp and
tensor. Batches are split over data and fsdp, frozen weights over fsdp and tensor, and every device
holds the prompts. So the gradient traffic of prompt tuning is only the prompt's size.
"""

import re
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.params import Tree, flatten, unflatten
from maskgit_prompt.stored import StoredArray, aligned

MESH_AXES = ("data", "fsdp", "tensor")

# Logical axis -> mesh axis. Axes not named here are not split.
RULES = {"embed": "fsdp", "heads": "tensor", "mlp": "tensor"}
BATCH = jax.P(("data", "fsdp"))


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh of all devices (or those given); one size may be -1 for the devices that remain.

    Raises:
      UsageError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [data, fsdp, tensor]
    if sizes.count(-1) == 1:
        known = -int(np.prod(sizes))
        sizes[sizes.index(-1)] = max(1, len(devices) // max(1, known))
    for name, size in (("data", data), ("fsdp", fsdp), ("tensor", tensor)):
        if size < 1 and size != -1:
            raise UsageError(
                f"config.mesh.{name} = {size}, expected at least 1, or -1 for the rest"
            )
    if min(sizes) < 1 or int(np.prod(sizes)) != len(devices):
        raise UsageError(
            f"config.mesh = data {data}, fsdp {fsdp}, tensor {tensor} does not multiply to the "
            f"{counted(len(devices), 'device')} here; set one of them to -1 to use them all"
        )
    # Auto, so that GSPMD propagates shardings; make_mesh defaults to Explicit axes.
    return jax.make_mesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def local_mesh() -> Mesh:
    """A mesh of this host's devices, for work that one host does by itself."""
    return make_mesh(devices=jax.local_devices())


def param_shardings(tree: Tree, mesh: Mesh, rules: Axes) -> Tree:
    """A NamedSharding for every leaf of a parameter tree (of arrays or abstract arrays).

    Raises:
      UsageError: a size that its mesh axis does not divide.
      ValueError: a parameter without a rule, or of another rank than its rule: a bug of ours.
    """
    return unflatten({path: _sharding(path, x, mesh, rules) for path, x in flatten(tree).items()})


def axes(path: str, shape: tuple[int, ...], rules: Axes) -> tuple[str, ...] | None:
    """The logical axes of a parameter; None if every device holds it.

    Raises:
      ValueError: a parameter without a rule, or of another rank than its rule: a bug of ours.
    """
    found = (logical for pattern, logical in rules if re.fullmatch(pattern, path))
    logical = next(found, "no rule")
    if logical == "no rule":
        raise ValueError(f"no sharding rule for {path} {shape}")
    if logical is not None and len(logical) != len(shape):
        raise ValueError(f"{path} has shape {shape}, but its rule has axes {logical}")
    return logical


def _sharding(path: str, x, mesh: Mesh, rules: Axes) -> NamedSharding:
    logical = axes(path, x.shape, rules)
    if logical is None:
        return NamedSharding(mesh, jax.P())
    spec = [RULES.get(axis) for axis in logical]
    for size, axis in zip(x.shape, spec, strict=True):
        if axis and size % mesh.shape[axis]:
            raise UsageError(
                f"{path} {x.shape}: {size} does not divide by config.mesh.{axis} = "
                f"{mesh.shape[axis]}; choose a divisor"
            )
    # Written as XLA does: no axis of a single device, no None at the end. Two ways of writing one
    # sharding would compile a function twice.
    spec = [axis if axis and mesh.shape[axis] > 1 else None for axis in spec]
    while spec and spec[-1] is None:
        spec.pop()
    return NamedSharding(mesh, jax.P(*spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, jax.P())


def of(tree):
    """The sharding of every array of a tree."""
    return jax.tree.map(lambda x: x.sharding, tree)


def optimizer_shardings(tx: optax.GradientTransformation, tree: Tree, mesh: Mesh):
    """Shardings of tx.init(tree): moments lie with their parameters, the rest on every device."""
    state = jax.eval_shape(tx.init, tree)
    return optax.tree.map_params(
        tx,
        lambda _, sharding: sharding,
        state,
        of(tree),
        transform_non_params=lambda _: replicated(mesh),
    )


def split_batch(x: jax.Array) -> jax.Array:
    """Keeps activations [B, …] split like batches in a compiled function; a no-op without a mesh.

    Otherwise the partitioner may follow the weights' fsdp axis instead: every device then holds
    the whole batch and reduces activations, when it should gather one layer's weights.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return x if mesh.empty else jax.lax.with_sharding_constraint(x, NamedSharding(mesh, BATCH))


def check_batch(batch_size: int, micro_batches: int, mesh: Mesh) -> None:
    """Raises UsageError unless batch and micro-batches divide over the devices."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size < 1 or micro_batches < 1 or batch_size % (parts * micro_batches):
        raise UsageError(
            f"batch size {batch_size} does not divide into {micro_batches} micro-batches over "
            f"{parts} devices (data x fsdp); use a multiple of {parts * max(1, micro_batches)}"
        )


def whole(size: int, mesh: Mesh) -> int:
    """At least `size` rows that divide over all devices of a mesh: 9 on 8 devices give 16."""
    return -(-size // mesh.size) * mesh.size


def to_global(batch: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
    """A global batch of numpy arrays, equal on every host -> arrays split over the mesh."""
    sharding = NamedSharding(mesh, BATCH)
    return jax.tree.map(lambda x: _put(x, sharding), batch)


def place(tree: Tree, mesh: Mesh, rules: Axes) -> Tree:
    """Places a tree of parameters by the rules; every host holds, or can read, the same tree.

    For arrays in files every host reads only its own shards, each once, as float32. Arrays already
    in place stay there.
    """
    return jax.tree.map(_put, tree, param_shardings(tree, mesh, rules))


def place_like(tree: Tree, like: Tree) -> Tree:
    """Places a tree of parameters like the arrays of a tree of the same structure."""
    return jax.tree.map(_put, tree, of(like))


def _put(x, sharding: NamedSharding) -> jax.Array:
    """Every device takes its part of an array that every host holds or can read."""
    if isinstance(x, jax.Array) and x.sharding == sharding:
        return x
    if not isinstance(x, StoredArray):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
    parts = {}  # devices of one host may need the same part

    def read(index: tuple[slice, ...]) -> np.ndarray:
        bounds = tuple(part.indices(n) for part, n in zip(index, x.shape, strict=True))
        if bounds not in parts:
            parts[bounds] = aligned(x[index])
        return parts[bounds]

    return jax.make_array_from_callback(x.shape, sharding, read)


def make_key(seed: int, mesh: Mesh) -> jax.Array:
    """A random key, held by every device of the mesh."""
    return jax.jit(lambda: jax.random.key(seed), out_shardings=replicated(mesh))()


def to_host(x: jax.Array, mesh: Mesh) -> np.ndarray:
    """A global array, whole, on every host."""
    if jax.process_count() > 1:
        x = jax.jit(lambda x: x, out_shardings=replicated(mesh))(x)
    return np.asarray(x)


def tree_to_host(tree: Tree, mesh: Mesh) -> Tree:
    """A tree of global arrays, whole, on every host."""
    return jax.tree.map(lambda x: to_host(x, mesh), tree)

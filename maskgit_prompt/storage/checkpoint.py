"""Checkpoints of what training changes. The only file that saves and restores with Orbax."""

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from maskgit_prompt.errors import UserError

policy = ocp.checkpoint_managers
SUMS = "checksums"  # beside the state's own fields


@contextlib.contextmanager
def manager(
    directory: str | pathlib.Path, every: int, keep: int = 2
) -> Iterator[ocp.CheckpointManager]:
    """Saves in the background every `every` steps and where the machine is about to go.

    Leaving the context waits for what was started. Raises UserError where the disk refuses.
    """
    directory = pathlib.Path(directory).absolute()
    options = ocp.CheckpointManagerOptions(
        save_decision_policy=policy.AnySavePolicy(
            [policy.FixedIntervalPolicy(every), policy.PreemptionCheckpointingPolicy()]
        ),
        preservation_policy=policy.LatestN(keep),
    )
    try:
        manager = ocp.CheckpointManager(
            directory, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )
    except OSError as error:
        raise UserError(
            f"cannot keep checkpoints in {directory}: {error.strerror or error}; "
            "use another workdir"
        ) from error
    try:
        yield manager
        wait(manager)
    except BaseException:
        # The first error counts: close() raises once more for each part of a save that failed.
        with contextlib.suppress(Exception):
            manager.close()
        raise
    manager.close()


def save(manager: ocp.CheckpointManager, step: int, state: Any, force: bool = False) -> bool:
    """Starts a save of a dataclass of trees of arrays; False where the policy says no.

    Raises UserError where the disk refuses.
    """
    if manager.latest_step() == step if force else not manager.should_save(step):
        return False
    fields = _fields(state)
    fields[SUMS] = checksums(fields)
    with _refusals(manager):
        return manager.save(step, args=ocp.args.StandardSave(fields), force=force)


def _fields(state: Any) -> dict[str, Any]:
    """The fields of a dataclass that a file has: arrays that are there, or have to be.

    A field that was added later, with None as its default, changes no file that has no use for it.
    """
    fields = {f.name: (f, getattr(state, f.name)) for f in dataclasses.fields(state)}
    return {
        name: x
        for name, (f, x) in fields.items()
        if f.metadata.get("pytree_node", True) and not (x is None and f.default is None)
    }


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits until what was started is on disk. Raises UserError where the disk refuses."""
    with _refusals(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _refusals(manager: ocp.CheckpointManager) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        # TensorStore raises ValueError("RESOURCE_EXHAUSTED: … [os_error_code='28']").
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if not code and not isinstance(error, OSError):
            raise
        reason = os.strerror(int(code[1])) if code else error.strerror or str(error)
        with contextlib.suppress(Exception):  # the first error counts
            manager.wait_until_finished()
        manager.reload()  # what is on disk, not what was begun
        kept = manager.latest_step()
        raise UserError(
            f"cannot save a checkpoint in {manager.directory}: {reason}; "
            f"{'none was saved before' if kept is None else f'step {kept} is kept'}; "
            "free some space and start again to resume"
        ) from error


def restore(manager: ocp.CheckpointManager, like: Any, step: int | None = None) -> Any:
    """The state of `step` (the latest by default), placed as the arrays of `like` are.

    Tree, names and shapes must be those saved; the mesh need not.

    Raises:
      UserError: the files are damaged, or of a state of other names or shapes.
    """
    step = manager.latest_step() if step is None else step
    where = f"checkpoint {manager.directory}/{step}"
    earlier = [other for other in manager.all_steps() if other < step]
    way_out = "use another workdir"
    if earlier:
        way_out = f"delete that folder to resume from step {max(earlier)}, or {way_out}"
    fields = _fields(like)
    try:
        if SUMS in manager.item_metadata(step).tree:  # earlier versions wrote none
            fields[SUMS] = checksums(fields)
        fields = jax.tree.map(ocp.utils.to_shape_dtype_struct, fields)
        found = manager.restore(step, args=ocp.args.StandardRestore(fields))
    except Exception as error:  # Orbax and TensorStore raise a dozen types for a damaged folder
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason"
        raise UserError(
            f"{where} cannot be read ({type(error).__name__}: {reason}); {way_out}"
        ) from error
    sums = found.pop(SUMS, None)
    if sums is not None:
        wrong = int(np.any(jax.device_get(sums != checksums(found)), axis=1).sum())
        if wrong:
            raise UserError(
                f"{where} is damaged ({wrong} of its {len(sums)} arrays have another checksum than "
                f"when they were saved); {way_out}"
            )
    return dataclasses.replace(like, **found)


@jax.jit
def checksums(tree: Any) -> jax.Array:
    """uint32 [arrays, 2] of a tree of n arrays: of every bit and of where it stands.

    Sums of integers, so they do not depend on the mesh or the order of adding.
    """
    return jnp.stack([_checksum(x) for x in jax.tree.leaves(tree)])


def _checksum(x: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
    else:
        bits = x
    bits = bits.astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis in range(x.ndim):
        index = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        place = place * jnp.uint32(x.shape[axis]) + index
    # Odd factors: no bit of a word is shifted out of the sum. Mixed ones tell what linear ones do
    # not: numbers that change places so that their places' sum stays.
    mixed = place * jnp.uint32(0x9E3779B1)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x85EBCA77)
    factors = (2 * place + 1, (mixed ^ (mixed >> 13)) | 1)
    return jnp.stack([jnp.sum(bits * factor, dtype=jnp.uint32) for factor in factors])

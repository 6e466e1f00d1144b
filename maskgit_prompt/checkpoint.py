"""Checkpoints of what training changes. The only file that knows Orbax."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from maskgit_prompt.errors import UserError

policy = ocp.checkpoint_managers


def manager(directory: str | pathlib.Path, every: int, keep: int = 2) -> ocp.CheckpointManager:
    """Saves in the background every `every` steps and where the machine is about to go."""
    return ocp.CheckpointManager(
        pathlib.Path(directory).absolute(),
        options=ocp.CheckpointManagerOptions(
            save_decision_policy=policy.AnySavePolicy(
                [policy.FixedIntervalPolicy(every), policy.PreemptionCheckpointingPolicy()]
            ),
            preservation_policy=policy.LatestN(keep),
        ),
    )


def save(manager: ocp.CheckpointManager, step: int, state: Any, force: bool = False) -> bool:
    """Starts a save; False where the policy says no. Raises UserError where the disk refuses."""
    if force and manager.latest_step() == step:
        return False
    try:
        return manager.save(step, args=ocp.args.StandardSave(state), force=force)
    except OSError as error:
        raise _failed(manager, step, error) from error


def wait(manager: ocp.CheckpointManager) -> None:
    """Waits until what was started is on disk. Raises UserError where the disk refuses."""
    try:
        manager.wait_until_finished()
    except OSError as error:
        raise _failed(manager, manager.latest_step(), error) from error


def _failed(manager: ocp.CheckpointManager, step: int | None, error: OSError) -> UserError:
    kept = [s for s in manager.all_steps() if s != step]
    return UserError(
        f"cannot save a checkpoint in {manager.directory}: {error.strerror or error}; "
        f"{f'step {max(kept)} is kept' if kept else 'none was saved before'}; "
        "free some space and start again to resume"
    )


def restore(manager: ocp.CheckpointManager, like: Any, step: int | None = None) -> Any:
    """The state of `step` (the latest by default), placed as the arrays of `like` are.

    Tree, names and shapes must be those saved; the mesh need not.

    Raises:
      UserError: the files are damaged, or of a state of other names or shapes.
    """
    step = manager.latest_step() if step is None else step
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        return manager.restore(step, args=ocp.args.StandardRestore(like))
    except Exception as error:  # Orbax and TensorStore raise a dozen types for a damaged folder
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason"
        raise UserError(
            f"checkpoint {manager.directory}/{step} cannot be read ({type(error).__name__}: "
            f"{reason}); delete that folder to resume from the one before, or use another workdir"
        ) from error

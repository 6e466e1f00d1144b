"""Several hosts as one: how they join the job, which one writes files, and how they end together.

Every host runs the same program on the same config and works on one mesh of all devices. Only the
first host writes files. All must see one workdir.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

import numpy as np

from maskgit_prompt.errors import Stopped, UsageError, UserError

_index = 0  # known here too, so that writing a file does not import jax


def initialize() -> None:
    """Joins the job that the environment names, if it names one.

    MGP_COORDINATOR (host:port), MGP_NUM_PROCESSES and MGP_PROCESS_ID name it. With
    MGP_COORDINATOR=auto JAX finds it by itself, as it can on TPU VMs, GKE and Slurm.

    Raises:
      UsageError: some of the variables are missing or not numbers.
    """
    global _index
    coordinator = os.environ.get("MGP_COORDINATOR")
    if not coordinator:
        return
    import jax

    options = {}
    if coordinator != "auto":
        try:
            options = {
                "coordinator_address": coordinator,
                "num_processes": int(os.environ["MGP_NUM_PROCESSES"]),
                "process_id": int(os.environ["MGP_PROCESS_ID"]),
            }
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"MGP_COORDINATOR is {coordinator}, but {error}: set MGP_NUM_PROCESSES and "
                "MGP_PROCESS_ID to numbers, or MGP_COORDINATOR=auto"
            ) from error
    # Notice a dead host after one minute instead of JAX's two to five.
    jax.distributed.initialize(**options, heartbeat_timeout_seconds=60, shutdown_timeout_seconds=60)
    _index = jax.process_index()


def is_first() -> bool:
    """Whether this host writes files."""
    return _index == 0


def barrier(name: str) -> None:
    """Waits for all hosts; does nothing with a single host."""
    if os.environ.get("MGP_COORDINATOR"):
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def exit_at_once_on_error() -> Iterator[None]:
    """Ends this process on an error without waiting long for the others, which may wait for it.

    JAX's shutdown is a barrier: after an exception in one process all would wait in it until it
    times out. Instead, the others notice that this host's heartbeat is missing. Hosts that fail
    alike leave together: if the first host left earlier, JAX would abort the others at once, before
    they have said what is wrong.
    """
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        if not os.environ.get("MGP_COORDINATOR"):
            raise
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        _leave_together()
        os._exit(getattr(error, "exit_code", 1))


def _leave_together() -> None:
    """Leaves the job with the other hosts if all of them do so within five seconds."""
    import jax
    from orbax.checkpoint import multihost

    with contextlib.suppress(jax.errors.JaxRuntimeError):  # the others work on, or are gone
        multihost.get_barrier_sync_fn()(key="all failed", timeout_ms=5_000)
        jax.distributed.shutdown()


def index_and_count() -> tuple[int, int]:
    """(index of this host, number of hosts)."""
    if not os.environ.get("MGP_COORDINATOR"):
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def gather(data: bytes) -> list[bytes]:
    """What every host passed, in the order of hosts; all hosts must call it."""
    _, hosts = index_and_count()
    if hosts == 1:
        return [data]
    from jax.experimental import multihost_utils

    sizes = multihost_utils.process_allgather(np.array([len(data)], np.int64)).reshape(-1)
    padded = np.zeros(max(1, sizes.max()), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = multihost_utils.process_allgather(padded).reshape(hosts, -1)
    return [rows[i, : sizes[i]].tobytes() for i in range(hosts)]

"""What the benchmarks share: random weights, one process per case, memory, the JSON file."""

import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
from typing import Any


def random_tree(kind: str, cfg: Any) -> dict:
    """Parameters of a part: numbers of standard deviation 0.02, ones for scales, zeros for biases.

    Drawn without a compiler.
    """
    import numpy as np

    from maskgit_prompt import backbones, params
    from maskgit_prompt.stored import aligned

    rng = np.random.default_rng(0)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if path.endswith(("scale", "bias")):
            return np.full(shape, float(path.endswith("scale")))
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    leaves = params.flatten(backbones.abstract(backbones.make_module(kind, cfg)))
    return params.unflatten(
        {path: aligned(draw(path, leaf.shape)) for path, leaf in leaves.items()}
    )


def peak_gib() -> float:
    """This process's highest resident memory."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss would begin at the parent's
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30


def in_a_process(script: str, flags: list[str]) -> dict[str, Any]:
    """The JSON in a script's last line of output; ends this process if the script fails."""
    done = subprocess.run([sys.executable, script, *flags], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(flags)} ended with exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def write_json(path: pathlib.Path, found: dict[str, Any]) -> None:
    """Writes the results, with the machine they were measured on."""
    import jax

    from maskgit_prompt.storage.files import write_whole

    found |= {
        "machine": {"processor": platform.processor(), "cores": len(os.sched_getaffinity(0))},
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "load_average": os.getloadavg(),
    }
    write_whole(path, (json.dumps(found, indent=1) + "\n").encode())

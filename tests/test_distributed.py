"""Two hosts of four devices run the main job as one process of one device does."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from maskgit_prompt import distributed
from maskgit_prompt.errors import UsageError
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]


def start(source: str, workdir: pathlib.Path, devices: int, **variables: str) -> subprocess.Popen:
    flags = {
        "config": "configs/quickstart.py",
        "workdir": workdir,
        "config.source": source,
        "config.data.shots": 2,
        "config.train.steps": 4,
        "config.train.log_every": 1,
        "config.train.tensorboard": False,
        "config.score.per_class": 2,
        "config.score.marquee_images": 0,
    }
    environment = os.environ | variables
    environment |= {"PJRT_NPROC": "16", "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "maskgit_prompt.main"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(children: list[subprocess.Popen]) -> None:
    try:
        outputs = [child.communicate(timeout=300) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0] * len(children), outputs


@pytest.mark.slow
def test_two_hosts_work_as_one(tmp_path):
    source = tiny.write(tmp_path / "tiny")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    job = {"MGP_COORDINATOR": f"localhost:{port}", "MGP_NUM_PROCESSES": "2"}
    finish([start(source, tmp_path / "two", 4, **job, MGP_PROCESS_ID=str(i)) for i in range(2)])
    finish([start(source, tmp_path / "one", 1)])

    def losses(name: str) -> list[float]:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]  # written once
        return [row["loss"] for row in rows if "loss" in row]

    np.testing.assert_allclose(losses("two"), losses("one"), rtol=1e-5)
    one, two = (
        safetensors.numpy.load_file(tmp_path / name / "prompt.safetensors")
        for name in ("one", "two")
    )
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=1e-4, err_msg=name)
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "two")]
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_job_that_is_named_by_half_is_refused(monkeypatch):
    monkeypatch.setenv("MGP_COORDINATOR", "localhost:1234")
    monkeypatch.setenv("MGP_NUM_PROCESSES", "two")
    with pytest.raises(UsageError, match="MGP_COORDINATOR is localhost:1234, but .*two"):
        distributed.initialize()

"""Two hosts of four devices run the main job as one process of one device does."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError
from tests import prepared, tiny

ROOT = pathlib.Path(__file__).parents[2]


MAIN = [sys.executable, "-m", "maskgit_prompt.main"]


def start(devices: int, variables: dict[str, str], command=MAIN, **flags) -> subprocess.Popen:
    """One process of a job; flags by name, "." written as "__"."""
    environment = os.environ | variables
    environment |= {"PJRT_NPROC": "16", "JAX_PLATFORMS": "cpu"}
    several = f"--xla_force_host_platform_device_count={devices}"
    environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {several}"
    command = command + [f"--{name.replace('__', '.')}={value}" for name, value in flags.items()]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_on(hosts: int, devices: int, code: int = 0, **flags) -> list[tuple[str, str]]:
    """A whole job on several hosts with several devices each, and how all of them end."""
    if hosts == 1:
        return finish([start(devices, {}, **flags)], code)
    return finish(start_all(hosts, devices, **flags), code)


def start_all(hosts: int, devices: int, **flags) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    job = {"MGP_COORDINATOR": f"localhost:{port}", "MGP_NUM_PROCESSES": str(hosts)}
    return [start(devices, job | {"MGP_PROCESS_ID": str(i)}, **flags) for i in range(hosts)]


def finish(children: list[subprocess.Popen], code: int = 0) -> list[tuple[str, str]]:
    """What the processes printed, to stdout and stderr."""
    try:
        outputs = [child.communicate(timeout=300) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [code] * len(children), outputs
    return outputs


def losses(workdir: pathlib.Path) -> list[float]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]  # written once
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.slow
def test_two_hosts_work_as_one(tmp_path):
    flags = dict(
        config="configs/quickstart.py",
        config__backbone=tiny.write(tmp_path / "tiny"),
        config__data__shots=2,
        config__train__steps=4,
        config__train__log_every=1,
        config__train__tensorboard=False,
        config__score__per_class=2,
        config__score__marquee_images=0,
    )
    run_on(2, 4, workdir=tmp_path / "two", **flags)
    run_on(1, 1, workdir=tmp_path / "one", **flags)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
    one, two = (
        safetensors.numpy.load_file(tmp_path / name / "prompt.safetensors")
        for name in ("one", "two")
    )
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=1e-4, err_msg=name)
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "two")]
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_one_two_and_three_hosts_make_the_same_codes_and_batches(tmp_path):
    """5,000 prepared images: 4,500 to tune on are three shards, which the hosts share out."""
    example = prepared.BUILDERS["svhn_cropped:3.*.*"][1]
    splits = {"train": map(example, range(5000)), "test": map(example, range(5000, 5060))}
    folder = tmp_path / "data"
    prepared.write(folder, "svhn_cropped:3.*.*", splits | {"extra": [example(0)]}, per_shard=700)
    flags = dict(
        config="configs/vtab.py:svhn,steps=4",
        config__backbone=tiny.write(tmp_path / "tiny"),
        config__data__data_dir=folder,
        config__train__batch_size=12,
        config__train__log_every=1,
        config__train__evaluate_every=0,
        config__train__tensorboard=False,
        config__prompt__tokens=2,
        config__sample__steps=2,
        config__sample__batch_size=12,
        config__score__images=12,
        config__score__rounds=1,
    )
    for hosts, devices in ((1, 1), (2, 2), (3, 1)):
        run_on(hosts, devices, workdir=tmp_path / str(hosts), **flags)

    def codes(hosts: int) -> dict[str, bytes]:
        home = tmp_path / str(hosts) / "codes"
        return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.glob("*/*"))}

    one = codes(1)
    assert [name[-9:] for name in one].count("00002.npy") == 1 and len(one) == 3 + 1 + 2
    assert one == codes(2) == codes(3)
    for hosts in (2, 3):
        found = losses(tmp_path / str(hosts) / "svhn")
        np.testing.assert_allclose(found, losses(tmp_path / "1" / "svhn"), rtol=1e-5)
        assert not list((tmp_path / str(hosts)).rglob("*.tmp"))
        assert not list((tmp_path / str(hosts)).rglob("*.partial"))


@pytest.mark.slow
def test_hosts_that_find_no_data_end_with_one_line_each(tmp_path):
    flags = dict(config="configs/vtab.py:svhn", config__data__data_dir=tmp_path / "none")
    outputs = run_on(2, 1, code=1, workdir=tmp_path / "run", **flags)
    for _, err in outputs:
        assert "error: no data: none of 1 tasks is prepared in" in err and "Traceback" not in err
    assert ["data of 0 of 1 tasks" in out for out, _ in outputs] == [True, False]


@pytest.mark.slow
def test_hosts_that_fail_one_after_the_other_all_say_why():
    """The second fails two seconds later; without the first, JAX would have aborted it by then."""
    code = """if True:
        import sys, time
        from maskgit_prompt.devices import distributed
        from maskgit_prompt.errors import UserError

        distributed.initialize()
        with distributed.exit_at_once_on_error():
            time.sleep(2 * distributed.index_and_count()[0])
            raise UserError("no data")
    """
    outputs = finish(start_all(2, 1, command=[sys.executable, "-c", code]), code=1)
    assert [err.splitlines()[-1] for _, err in outputs] == ["error: no data"] * 2


@pytest.mark.slow
def test_a_task_that_fails_on_one_host_ends_neither(tmp_path):
    """Each of two hosts looks through one of svhn's two training files; the second is damaged."""
    data, home = tmp_path / "data", tmp_path / "run"
    prepared.write_all(data, names=("svhn_cropped:3.*.*", "eurosat/rgb:2.*.*"))
    [path] = data.rglob("svhn_cropped-train.tfrecord-00001*")
    path.write_bytes(path.read_bytes()[:-1])
    flags = dict(
        config="configs/vtab.py:svhn,eurosat,steps=2",
        config__backbone=tiny.write(tmp_path / "tiny"),
        config__data__data_dir=data,
        config__train__batch_size=4,
        config__train__evaluate_every=0,
        config__train__tensorboard=False,
        config__prompt__tokens=2,
        config__sample__steps=2,
        config__sample__batch_size=4,
        config__score__images=4,
        config__score__rounds=1,
    )
    outputs = run_on(2, 1, code=1, workdir=home, **flags)
    for _, err in outputs:
        assert "error: 1 of 2 tasks are not done: svhn" in err and "Traceback" not in err
    rows = {row["task"]: row for row in json.loads((home / "results.json").read_text())["rows"]}
    assert rows["eurosat"]["status"] == "done" and rows["svhn"]["status"] == "failed"
    assert f"{path.name} is cut short or damaged" in rows["svhn"]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_host_stops_all_at_the_same_step(number, tmp_path):
    home = tmp_path / "run"
    flags = dict(
        config="configs/quickstart.py",
        config__backbone=tiny.write(tmp_path / "tiny"),
        config__train__steps=100_000,
        config__train__log_every=1,
        config__train__evaluate_every=0,
        config__prompt__tokens=2,
    )
    children = start_all(2, 1, workdir=home, **flags)
    deadline = time.monotonic() + 200
    while not (home / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    children[1].send_signal(number)
    outputs = finish(children, code=143)
    steps = {re.search(r"stopped at step (\d+) of 100000, saved in", err)[1] for _, err in outputs}
    assert len(steps) == 1
    assert [path.name for path in (home / "checkpoints").iterdir()] == list(steps)


def test_a_job_that_is_named_by_half_is_refused(monkeypatch):
    monkeypatch.setenv("MGP_COORDINATOR", "localhost:1234")
    monkeypatch.setenv("MGP_NUM_PROCESSES", "two")
    with pytest.raises(UsageError, match="MGP_COORDINATOR is localhost:1234, but .*two"):
        distributed.initialize()

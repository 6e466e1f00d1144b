"""The folder of a run: its config must not change, and its metrics have each step once."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from maskgit_prompt.config import defaults as configs
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.storage import workdir
from tests import light


def prepare(path, config) -> pathlib.Path:
    with workdir.prepare(path, config) as folder:
        return folder


def test_a_new_folder_keeps_the_config(tmp_path):
    config = configs.transfer()
    folder = prepare(tmp_path / "runs" / "new", config)
    assert folder == tmp_path / "runs" / "new"
    kept = json.loads((folder / "config.json").read_text())
    assert kept["train"]["batch_size"] == 32 and kept["trainable"] == ["prompt/.*"]


def test_the_same_config_goes_on(tmp_path):
    prepare(tmp_path, configs.transfer())
    config = configs.transfer()
    # How long and where, not what.
    config.mesh.data, config.train.log_every, config.train.save_every = 2, 1, 5
    config.train.tensorboard, config.train.show_every, config.profile = False, 9, "2:3"
    assert prepare(str(tmp_path), config) == tmp_path


def test_a_workdir_of_an_earlier_version_goes_on(tmp_path):
    """Of November 2026, before keys were renamed and others added; another value is still told."""
    text = (pathlib.Path(__file__).parent / "config_november.json").read_text()
    (tmp_path / "config.json").write_text(text)
    old = json.loads(text)
    assert old["job"] == "transfer" and "source" in old and "attention" not in old
    workdir.check(tmp_path, configs.transfer())
    config = configs.transfer()
    config.backbone, config.attention, config.data.fit = "models/other", "xla", "resize"
    with pytest.raises(UsageError) as error:
        workdir.check(tmp_path, config)
    assert (
        "attention is 'auto' there, 'xla' now; backbone is '' there, 'models/other' now; "
        "data.fit is 'crop' there, 'resize' now"
    ) in str(error.value)


@pytest.mark.parametrize(
    ("key", "there", "now"),
    [
        ("data.path", "photos", "/mnt/disk/photos/"),  # `bind` compares the images
        ("data.csv", "labels.csv", "/mnt/disk/labels.csv"),
        ("data.data_dir", "", "/mnt/tfds"),
        ("backbone", "models/large", "models/large/"),
        ("backbone", "models/large", "./x/../models//large"),
        ("backbone", "~/large", "{home}/large"),
        ("backbone", "models/large", "{cwd}/models/large"),
    ],
)
def test_where_things_are_is_not_what_a_run_computes(key, there, now, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config = configs.transfer()
    config.update_from_flattened_dict({key: there})
    prepare(tmp_path / "run", config)
    config.update_from_flattened_dict({key: now.format(home="/home/me", cwd=tmp_path)})
    prepare(tmp_path / "run", config)


@pytest.mark.parametrize(
    ("key", "there", "now"),
    [
        ("backbone", "models/a", "models/b"),
        ("backbone", "", "mini"),
        ("data.name", "digits", "tfds"),
    ],
)
def test_another_thing_is_refused(key, there, now, tmp_path):
    config = configs.transfer()
    config.update_from_flattened_dict({key: there})
    prepare(tmp_path / "run", config)
    config.update_from_flattened_dict({key: now})
    with pytest.raises(UsageError, match=f"{key} is '{there}' there, '{now}' now"):
        prepare(tmp_path / "run", config)


def test_backbones_in_a_list_are_compared_as_paths(tmp_path):
    config = configs.side_by_side(configs.transfer())
    config.models.backbones = ("mini", "models/large/")
    prepare(tmp_path / "run", config)
    config.models.backbones = ("mini", "models/large")
    prepare(tmp_path / "run", config)
    config.models.backbones = ("models/large", "mini")
    with pytest.raises(UsageError, match="models.backbones is "):
        prepare(tmp_path / "run", config)


def test_another_config_is_refused_by_its_keys(tmp_path):
    prepare(tmp_path, configs.transfer())
    before = (tmp_path / "config.json").read_bytes()
    config = configs.transfer()
    config.train.batch_size, config.mesh.data = 16, 2
    config.data.fit = "resize"
    with pytest.raises(UsageError) as error:
        prepare(tmp_path, config)
    assert str(error.value) == (
        f"workdir {tmp_path} holds a run of another config: data.fit is 'crop' there, 'resize' "
        "now; train.batch_size is 32 there, 16 now; use another --workdir, or delete that one"
    )
    assert (tmp_path / "config.json").read_bytes() == before


def test_keys_that_only_one_config_has(tmp_path):
    prepare(tmp_path, ConfigDict({"old": 1, "both": {"a": 2}}))
    with pytest.raises(UsageError, match="both.a is 2 there, None now; both.b is None there, 3 n"):
        prepare(tmp_path, ConfigDict({"old": 1, "both": {"b": 3}}))


def test_many_differences_are_cut_short(tmp_path):
    prepare(tmp_path, ConfigDict({f"k{i}": 0 for i in range(9)}))
    with pytest.raises(UsageError, match="k0 is 0 there, 1 now.*k4 is 0 there, 1 now; and 4 more"):
        prepare(tmp_path, ConfigDict({f"k{i}": 1 for i in range(9)}))


@pytest.mark.parametrize("text", ['{"seed": 0', "3", ""])
def test_a_damaged_config(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json is damaged .*; use another workdir") as error:
        prepare(tmp_path, configs.transfer())
    assert "\n" not in str(error.value)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="run is a file, expected a folder; use another --workdir"):
        prepare(tmp_path / "run", configs.transfer())


# --- One run at a time ---------------------------------------------------------------------------

OWNER = r"process \d+ on host \S+ since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def test_a_second_run_is_refused_by_the_first_ones_name(tmp_path):
    with prepare_and_stay(tmp_path):
        expected = f"^workdir {tmp_path} is in use by {OWNER}; wait for that run, stop it, or use "
        with pytest.raises(UsageError, match=expected):
            prepare(tmp_path, configs.transfer())
        with pytest.raises(UsageError, match=expected):
            workdir.check(tmp_path, configs.transfer())
    assert prepare(tmp_path, configs.transfer()) == tmp_path
    assert workdir.check(tmp_path, configs.transfer()) == tmp_path


def test_the_lock_goes_with_the_run(tmp_path):
    with prepare_and_stay(tmp_path):
        assert str(os.getpid()) in (tmp_path / workdir.LOCK).read_text()
    assert not (tmp_path / workdir.LOCK).exists()
    with pytest.raises(RuntimeError), prepare_and_stay(tmp_path):
        raise RuntimeError
    assert not (tmp_path / workdir.LOCK).exists()


def test_a_killed_run_blocks_nobody(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert (child.returncode, child.stderr) == (-signal.SIGKILL, "")
    assert (tmp_path / workdir.LOCK).exists()
    assert workdir.check(tmp_path, configs.transfer()) == tmp_path
    assert prepare(tmp_path, configs.transfer()) == tmp_path
    assert not (tmp_path / workdir.LOCK).exists()


ROOT = pathlib.Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from maskgit_prompt.config import defaults
from maskgit_prompt.storage import workdir
with workdir.prepare(sys.argv[1], defaults.transfer()):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nobody_is_told_to_delete_the_folder_of_a_run_that_goes_on(tmp_path):
    other = configs.transfer()
    other.seed = 7
    with prepare_and_stay(tmp_path), pytest.raises(UsageError, match="is in use by process"):
        prepare(tmp_path, other)
    with pytest.raises(UsageError, match="seed is 0 there, 7 now; use another --workdir"):
        prepare(tmp_path, other)


def prepare_and_stay(path):
    return workdir.prepare(path, configs.transfer())


# --- Metrics -------------------------------------------------------------------------------------


def test_one_line_a_step(tmp_path):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    assert metrics.rows() == []
    metrics.log(10, {"loss": 0.5, "grad_norm": 2.0})
    metrics.log(20, {"loss": 0.25})
    metrics.close()
    assert metrics.path.read_text() == (
        '{"step": 10, "loss": 0.5, "grad_norm": 2.0}\n{"step": 20, "loss": 0.25}\n'
    )
    assert metrics.rows()[1] == {"step": 20, "loss": 0.25}


@pytest.mark.parametrize(("step", "kept"), [(0, []), (10, [10]), (15, [10]), (99, [10, 20, 30])])
def test_resume_drops_what_came_after(tmp_path, step, kept):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    for logged in (10, 20, 30):
        metrics.log(logged, {"loss": 1.0})
    metrics.resume(step)
    assert [row["step"] for row in metrics.rows()] == kept
    metrics.log(40, {"loss": 1.0})
    assert [row["step"] for row in metrics.rows()] == [*kept, 40]


def test_a_line_cut_off_by_a_crash(tmp_path):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    metrics.log(10, {"loss": 1.0})
    with open(metrics.path, "a") as file:
        file.write('{"step": 20, "lo')
    assert [row["step"] for row in metrics.rows()] == [10]
    metrics.resume(20)
    metrics.log(20, {"loss": 2.0})
    assert metrics.rows() == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}]


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 20, "lo',
        b"",
        b"20",
        b'{"loss": 1.0}',
        b'{"step": "20"}',
        b'{"step": 2.5}',
        b"\xff",
    ]
    + [b'{"step": 20, "loss": "1.0"}', b'{"step": 20, "loss": null}', b"[20, 1.0]"],
)
def test_a_damaged_line_in_the_midst_is_told(tmp_path, line):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    metrics.log(10, {"loss": 1.0})
    with open(metrics.path, "ab") as file:
        file.write(line + b"\n")
    metrics.log(30, {"loss": 3.0})
    before = metrics.path.read_bytes()
    with pytest.raises(
        UserError, match=f"^line 2 of {metrics.path} is damaged .*; delete the line"
    ):
        metrics.resume(20)
    assert metrics.path.read_bytes() == before


def test_a_new_run_has_no_metrics_file(tmp_path):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    metrics.resume(0)
    assert not metrics.path.exists()


def test_a_folder_that_is_gone(tmp_path):
    metrics = workdir.Metrics(tmp_path / "gone", tensorboard=False)
    with pytest.raises(UserError, match="cannot write .*metrics.jsonl: No such file or directory"):
        metrics.log(1, {"loss": 1.0})


def in_tensorboard(folder) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each point that TensorBoard shows, by the name of its curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.fixture
def no_tensorflow(monkeypatch):
    """TensorBoard's reader uses TensorFlow where it finds it."""
    light.leave_out(monkeypatch, "tensorflow")


def test_tensorboard_has_the_same(tmp_path, no_tensorflow):
    metrics = workdir.Metrics(tmp_path, tensorboard=True)
    metrics.log(10, {"loss": 0.5, "grad_norm": 2.0})
    metrics.log(20, {"loss": 0.25})
    metrics.log(20, {"evaluated_train": 0.125})
    loss = [(10, 0.5), (20, 0.25)]
    expected = {"loss": loss, "grad_norm": [(10, 2.0)], "evaluated_train": [(20, 0.125)]}
    assert in_tensorboard(tmp_path) == expected  # while the run goes on
    metrics.close()
    assert in_tensorboard(tmp_path) == expected


@pytest.mark.parametrize(("step", "kept"), [(0, []), (10, [10]), (15, [10]), (99, [10, 20, 30])])
def test_tensorboard_forgets_what_came_after(tmp_path, step, kept, no_tensorflow):
    for values, resumed, steps in ((0.5, 0, (10, 20, 30)), (0.25, step, (40, 50))):
        metrics = workdir.Metrics(tmp_path, tensorboard=True)
        metrics.resume(resumed)
        for logged in steps:
            metrics.log(logged, {"loss": values})
    assert in_tensorboard(tmp_path) == {
        "loss": [*((one, 0.5) for one in kept), (40, 0.25), (50, 0.25)]
    }


def test_a_step_that_is_done_again_is_shown_once(tmp_path, no_tensorflow):
    for resumed, logged in ((0, {10: 4.0, 20: 3.0}), (10, {20: 2.0}), (10, {20: 1.0, 30: 0.5})):
        metrics = workdir.Metrics(tmp_path, tensorboard=True)
        metrics.resume(resumed)
        for step, loss in logged.items():
            metrics.log(step, {"loss": loss})
    assert in_tensorboard(tmp_path) == {"loss": [(10, 4.0), (20, 1.0), (30, 0.5)]}
    assert [row["step"] for row in metrics.rows()] == [10, 20, 30]


def test_only_metrics_where_tensorboard_is_switched_off(tmp_path):
    metrics = workdir.Metrics(tmp_path, tensorboard=False)
    metrics.log(10, {"loss": 0.5})
    metrics.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_events_that_cannot_be_written(tmp_path, monkeypatch):
    from tensorboardX import event_file_writer

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    metrics = workdir.Metrics(tmp_path / "run", tensorboard=True)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(event_file_writer.EventsWriter, "flush", full)
    with pytest.raises(UserError, match="cannot write .*/run: No space left on device"):
        metrics.log(10, {"loss": 0.5})

"""VTAB through main: all 19 tasks, what is missing, what fails, killed and started again."""

import json
import shutil

import numpy as np
import pytest

from maskgit_prompt import main
from maskgit_prompt.config import defaults, named_data
from maskgit_prompt.data import loading
from maskgit_prompt.data.sets import vtab
from maskgit_prompt.jobs import vtab as vtab_job
from maskgit_prompt.tasks.generation import transfer
from tests import light, prepared
from tests.jobs.running import ROOT, run, write_images

VTAB = f"--config={ROOT}/configs/vtab.py"
FEW = f"--config={ROOT}/configs/fewshot.py"
SMALL = (
    "--config.train.batch_size=8",
    "--config.train.tensorboard=False",
    "--config.train.evaluate_every=0",
    "--config.train.remat=False",
    "--config.prompt.tokens=2",
    "--config.prompt.kind=factorized",
    "--config.prompt.embedding=4",
    "--config.sample.steps=2",
    "--config.sample.batch_size=8",
    "--config.score.images=8",
    "--config.score.rounds=1",
)
THREE = "svhn,smallnorb_azimuth,smallnorb_elevation"


def flags_of(data, workdir, tasks, backbone, steps) -> tuple[str, ...]:
    return (
        f"{VTAB}:{tasks}",
        f"--config.backbone={backbone}",
        f"--config.steps={steps}",
        f"--config.data.data_dir={data}",
        f"--workdir={workdir}",
        *SMALL,
    )


def start(capsys, data, workdir, *flags, backbone, tasks="", steps=2):
    return run(capsys, *flags_of(data, workdir, tasks, backbone, steps), *flags)


def table(workdir):
    return [(workdir / name).read_bytes() for name in ("results.json", "results.md")]


def rows(workdir) -> dict[str, dict]:
    return {row["task"]: row for row in json.loads((workdir / "results.json").read_text())["rows"]}


def images_of(data, size: int) -> list[dict[str, str | None]]:
    """Fingerprints of what is tuned on and held out, a task each; None where there is nothing."""
    found = []
    for task in vtab.TASKS:
        config = named_data.vtab(defaults.transfer(), "", "vtab.py").data
        config.task, config.data_dir = task.name, str(data)
        loaded = loading.load(config, size)
        rows = {"tune": np.unique(loaded.tune), "test": np.unique(loaded.test)}
        subset = lambda r, images=loaded.images: images.subset(r).fingerprint if len(r) else None
        found.append({part: subset(r) for part, r in rows.items()})
    return found


@pytest.mark.slow
def test_all_nineteen_tasks(vtab_data, tmp_path, capsys, backbone):
    home = tmp_path / "run"
    done = start(capsys, vtab_data, home, backbone=backbone)
    assert done.code == 0, done.err
    assert "data of 19 of 19 tasks" in done.out
    found = rows(home)
    assert list(found) == [task.name for task in vtab.TASKS]
    held = 0
    for task in vtab.TASKS:
        row, folder = found[task.name], home / task.name
        assert row["status"] == "done" and row["steps"] == 2 and row["classes"] == task.classes
        # Eight in all; those of classes that have no training image are left out.
        assert row["frechet"] is None and 0 < row["generated"] <= 8
        assert row["train_loss"] > 0
        held += (row["heldout_loss"] or 0) > 0
        for name in ("prompt.safetensors", "report.html", "samples/prompt.png", "config.json"):
            assert (folder / name).exists()
    assert held == 10
    # A codes file for each distinct set of images: those that tasks on one data set are tuned on
    # are one set, not two.
    sets = [{sets[part] for sets in images_of(vtab_data, size=16)} for part in ("tune", "test")]
    assert len(sets[0]) == 16
    keys = {json.loads(p.read_text())["key"]["images"] for p in home.glob("codes/*/index.json")}
    assert keys == (sets[0] | sets[1]) - {None}
    assert (home / "tasks.png").read_bytes().startswith(b"\x89PNG")
    means = {row["group"]: row for row in json.loads((home / "results.json").read_text())["means"]}
    assert {name: row["tasks"] for name, row in means.items()} == {
        "natural": 7,
        "specialized": 4,
        "structured": 8,
        "all": 19,
    }
    text = (home / "results.md").read_text()
    assert all(f"| {task.name} " in text for task in vtab.TASKS)
    before = table(home)
    again = start(capsys, vtab_data, home, backbone=backbone)  # all are kept
    assert again.code == 0 and "tune" not in again.err
    assert table(home) == before


def test_without_data_all_tasks_are_listed_and_nothing_is_made(tmp_path, capsys, monkeypatch):
    done = start(capsys, tmp_path / "none", tmp_path / "run", backbone="models/none")
    assert done.code == 1
    assert done.error().startswith("error: no data: none of 19 tasks is prepared in")
    assert "--config.data.download=True" in done.error()
    assert not (tmp_path / "run").exists()
    lines = done.out.splitlines()
    assert lines[0] == f"data of 0 of 19 tasks in {tmp_path / 'none'}:"
    assert [line.split()[2] for line in lines[1::2]] == [task.name for task in vtab.TASKS]
    assert all("download_and_prepare" in line for line in lines[2::2])
    assert "warning" not in done.err


@pytest.mark.parametrize(
    "config",
    [f"{VTAB}:svhn", f"{FEW}:imagenette,shots=5"],
)
def test_without_tfds_the_way_out_is_told(config, backbone, tmp_path, capsys, monkeypatch):
    light.leave_out(monkeypatch)
    flags = (config, f"--config.backbone={backbone}", f"--workdir={tmp_path / 'run'}")
    done = run(capsys, *flags)
    assert done.error() == (
        "error: this data is read through TFDS, which is not installed (requirements-light.txt "
        "leaves it out): pip install -r requirements.txt, or use a folder of images"
    )
    assert done.code == 1
    assert not (tmp_path / "run").exists()


def test_the_folder_of_data_is_that_of_tfds(vtab_data, tmp_path, capsys):
    """TFDS reads TFDS_DATA_DIR when it is imported, so in a process of its own."""
    import os
    import subprocess
    import sys

    command = [sys.executable, "-m", "maskgit_prompt.main", f"{VTAB}:svhn"]
    command += ["--config.backbone=models/none", f"--workdir={tmp_path}"]
    environment = os.environ | {"TFDS_DATA_DIR": str(vtab_data)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert f"data of 1 of 1 tasks in {vtab_data}:" in done.stdout
    assert "config.backbone = 'models/none'" in done.stderr and done.returncode == 2


def test_files_fetched_by_hand_are_prepared_where_that_is_asked_for(tmp_path, capsys, backbone):
    data, home = tmp_path / "data", tmp_path / "run"
    flags = ("--config.data.download=True",)
    done = start(capsys, data, home, *flags, tasks="resisc45", backbone=backbone)
    assert done.code == 1 and "error: no data: none of 1 tasks is prepared" in done.error()
    assert "resisc45/3.0.0 cannot be prepared in" in done.out and "downloads/manual" in done.out
    names = builder_classes("resisc45", tmp_path)
    write_images(data / "downloads" / "manual" / "NWPU-RESISC45", "jpg", **dict.fromkeys(names, 4))
    done = start(capsys, data, home, *flags, tasks="resisc45", backbone=backbone)
    assert done.code == 0, done.err
    row = rows(home)["resisc45"]
    # 45 classes of 4: the first 60 % of 180 are tuned on.
    assert (row["classes"], row["images"], row["status"]) == (45, 108, "done")


@pytest.fixture(scope="module")
def whole(vtab_data, tmp_path_factory, backbone):
    """(A workdir of THREE, run in one go, and its results.json and results.md)."""
    home = tmp_path_factory.mktemp("vtab") / "run"
    assert main.main(["main", *flags_of(vtab_data, home, THREE, backbone, 4)]) == 0
    return home, table(home)


def test_tasks_that_share_a_data_set_share_its_codes(whole, vtab_data, capsys, backbone):
    home, _ = whole
    # svhn's two parts, and the training images of smallnorb once. Its twelve test images have
    # twelve azimuths, which leaves none to hold out beside the judge's, but nine elevations.
    sizes = [json.loads(p.read_text())["n"] for p in (home / "codes").glob("*/index.json")]
    assert sorted(sizes) == [3, 10, 21, 24]
    assert not list((home / "svhn").glob("codes"))
    found = rows(home)
    assert [row["images"] for row in found.values()] == [21, 24, 24]
    # Another start with a further task, in the same workdir: what is finished is kept.
    done = start(capsys, vtab_data, home, tasks="dtd", backbone=backbone, steps=4)
    assert done.code == 0 and "task 1 of 1: dtd (natural)" in done.out
    assert list(rows(home)) == ["svhn", "dtd", "smallnorb_azimuth", "smallnorb_elevation"]


def test_a_finished_task_needs_no_data(vtab_data, tmp_path, capsys, backbone):
    data, home = tmp_path / "data", tmp_path / "run"
    shutil.copytree(vtab_data / "svhn_cropped", data / "svhn_cropped")
    assert start(capsys, data, home, tasks="svhn", backbone=backbone).code == 0
    before = (home / "results.md").read_bytes()
    shutil.rmtree(data)
    assert start(capsys, data, home, tasks="svhn", backbone=backbone).code == 0
    assert (home / "results.md").read_bytes() == before
    done = start(capsys, data, home, tasks="svhn,dtd", backbone=backbone)
    assert done.code == 1 and "error: 1 of 2 tasks are not done: dtd;" in done.error()
    assert [row["status"] for row in rows(home).values()] == ["done", "missing"]
    other = start(capsys, data, home, tasks="svhn", backbone=backbone, steps=3)
    assert other.code == 2 and "holds a run of another config: steps is 2 there" in other.error()


def test_killed_in_the_middle_it_ends_with_the_same_table(
    whole, vtab_data, tmp_path, capsys, backbone, monkeypatch
):
    real, seen, part = transfer.tune_prompt, [], tmp_path / "part"

    def stopped(*args, **options):
        seen.append(args)
        if len(seen) == 2:
            raise KeyboardInterrupt  # of the second task the codes are there
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "tune_prompt", stopped)
        assert start(capsys, vtab_data, part, tasks=THREE, backbone=backbone, steps=4).code == 130
    assert not (part / "results.json").exists()
    again = start(capsys, vtab_data, part, tasks=THREE, backbone=backbone, steps=4)
    assert again.code == 0 and "svhn (natural)" not in again.out
    assert table(part) == whole[1]


def test_a_task_that_fails_is_told_and_the_others_go_on(vtab_data, tmp_path, capsys, backbone):
    data, home, tasks = tmp_path / "data", tmp_path / "run", "svhn,eurosat,dmlab"
    for name in ("svhn_cropped", "eurosat"):
        shutil.copytree(vtab_data / name, data / name)
    [path] = data.rglob("svhn_cropped-train.tfrecord-00001*")
    intact = path.read_bytes()
    path.write_bytes(intact[:-1])
    done = start(capsys, data, home, tasks=tasks, backbone=backbone)
    assert done.code == 1
    assert "error: 2 of 3 tasks are not done: svhn, dmlab; the reasons are in" in done.error()
    found = rows(home)
    assert [row["status"] for row in found.values()] == ["failed", "done", "missing"]
    assert "is cut short or damaged at byte" in found["svhn"]["error"]
    assert "download_and_prepare" in found["dmlab"]["error"]
    assert "is cut short or damaged" in (home / "results.md").read_text()

    path.write_bytes(intact)
    shutil.copytree(vtab_data / "dmlab", data / "dmlab")
    again = start(capsys, data, home, tasks=tasks, backbone=backbone)
    assert again.code == 0 and "task 2 of 2: dmlab" in again.out and "eurosat (" not in again.out
    assert [row["status"] for row in rows(home).values()] == ["done"] * 3


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("dataset_info.json", lambda data: data[:100]),
        ("dataset_info.json", lambda data: b'{"a": 1}'),
        ("features.json", lambda data: b"{"),
    ],
)
def test_damaged_metadata_is_of_one_task(name, damage, vtab_data, tmp_path, capsys, backbone):
    shutil.copytree(vtab_data / "svhn_cropped", tmp_path / "svhn_cropped")
    path = tmp_path / "svhn_cropped" / "3.1.0" / name
    path.write_bytes(damage(path.read_bytes()))
    done = start(capsys, tmp_path, tmp_path / "run", tasks="svhn,dtd", backbone=backbone)
    assert done.code == 1 and "error: no data: none of 2 tasks is prepared" in done.error()
    assert "is damaged (" in done.out and "delete that folder and prepare it again" in done.out
    assert "data of 0 of 2 tasks" in done.out


def test_changed_images_are_no_reason_to_go_on_from_a_checkpoint(
    vtab_data, tmp_path, capsys, backbone
):
    data, home = tmp_path / "data", tmp_path / "run"
    shutil.copytree(vtab_data / "svhn_cropped", data / "svhn_cropped")
    assert start(capsys, data, home, tasks="svhn", backbone=backbone).code == 0
    (home / "svhn" / "report.html").unlink()  # as if it had been killed before
    example = prepared.BUILDERS["svhn_cropped:3.*.*"][1]
    shutil.rmtree(data)
    splits = {s: [example(i + 100) for i in range(24)] for s in ("train", "test", "extra")}
    prepared.write(data, "svhn_cropped:3.*.*", splits)
    assert start(capsys, data, home, tasks="svhn", backbone=backbone).code == 1
    wrong = rows(home)["svhn"]["error"]
    assert "holds a run on other images or labels than are there now (those tuned on" in wrong
    assert "use another --workdir" in wrong


def test_a_bug_in_one_task_is_no_end_of_the_others(
    vtab_data, tmp_path, capsys, backbone, monkeypatch
):
    real = vtab_job.carry_out

    def broken(plan, *args):
        if plan.config.data.task == "svhn":
            raise ZeroDivisionError("a bug")
        return real(plan, *args)

    monkeypatch.setattr(vtab_job, "carry_out", broken)
    done = start(capsys, vtab_data, tmp_path / "run", tasks="svhn,dtd", backbone=backbone)
    assert done.code == 1 and "not done: svhn" in done.error()
    assert rows(tmp_path / "run")["svhn"]["error"] == "ZeroDivisionError: a bug"
    assert rows(tmp_path / "run")["dtd"]["status"] == "done"


def test_few_images_a_class_and_views_of_them(vtab_data, tmp_path, capsys, backbone):
    flags = ("--config.data.views=3", "--config.data.flip=True")
    done = start(capsys, vtab_data, tmp_path, *flags, tasks="svhn,shots=1", backbone=backbone)
    assert done.code == 0, done.err
    lines = (tmp_path / "svhn" / "chosen.csv").read_text().splitlines()
    assert len(lines) == 11 and lines[1].startswith("svhn_cropped-train.tfrecord-0000")
    assert sorted(line.split(",")[1] for line in lines[1:]) == list("0123456789")
    shapes = {np.load(path).shape[:2] for path in (tmp_path / "codes").glob("*/codes-*.npy")}
    assert shapes == {(10, 3), (10, 1)}  # ten tuned on, three codes each, and ten held out


@pytest.mark.parametrize(
    ("tasks", "flags", "message"),
    [
        ("svnh", (), "no VTAB task 'svnh'; expected a group (natural, specialized, structured)"),
        ("svhn,split=half", (), "config.data.split = 'half', expected train, val, trainval"),
        ("svhn,shots=x", (), "vtab.py:svhn,shots=x has 'shots=x', expected shots=NUMBER"),
        ("svhn", ("--config.data.reference=every",), "config.data.reference = 'every', expected"),
        ("svhn", ("--config.steps=-1",), "config.steps = -1, expected 0 or more"),
        ("svhn", ("--config.score.images=-1",), "config.score.images = -1, expected 0 or more"),
        ("svhn", ("--config.train.epochs=-1",), "config.train.epochs = -1.0, expected 0 or more"),
        ("svhn", ("--config.prompt.kind=additiv",), "config.prompt.kind = 'additiv', expected "),
        ("svhn", ("--config.data.views=0",), "config.data.views = 0, expected at least 1"),
        (
            "svhn",
            ("--config.data.crop=3.0",),
            "config.data.crop = 3.0, expected 0 or more, and below 1",
        ),
    ],
)
def test_wrong_use_is_refused(tasks, flags, message, vtab_data, tmp_path, capsys, backbone):
    done = start(capsys, vtab_data, tmp_path / "run", *flags, tasks=tasks, backbone=backbone)
    assert message in done.error()
    assert done.code == 2 and not (tmp_path / "run").exists()


# --- Few-shot sets -------------------------------------------------------------------------------


def test_a_few_shot_set_from_a_folder(tmp_path, capsys, backbone):
    folder = write_images(tmp_path / "afhq" / "train", cat=9, dog=9, wild=9)
    home = tmp_path / "run"
    flags = [f for f in SMALL if "score.images" not in f and "prompt.kind" not in f]
    done = run(
        capsys,
        f"{FEW}:animal-faces,shots=2,steps=2,path={folder}",
        f"--config.backbone={backbone}",
        f"--workdir={home}",
        "--config.score.per_class=2",
        "--config.score.marquee_images=2",
        "--config.prompt.kind=factorized",
        *flags,
    )
    assert done.code == 0, done.err
    lines = (home / "chosen.csv").read_text().splitlines()
    assert lines[0] == "file,class" and len(lines) == 7
    assert [line.split(",")[1] for line in lines[1:]] == ["cat"] * 2 + ["dog"] * 2 + ["wild"] * 2
    found = json.loads((home / "results.json").read_text())
    assert found["data"]["images"]["tune"] == 6 and len(found["marquee"]) == 6


def test_a_few_shot_set_from_tfds(tmp_path, capsys, backbone):
    names = ("alley", "arch", "art_gallery", "auditorium", "ballroom")
    index = builder_classes("places365_small:2.*.*", tmp_path)
    labels = [index.index(name) for name in names]
    example = lambda i: {
        "image": prepared.picture(i, 256, 256),
        "label": labels[i % 5],
        "filename": "a",
    }
    splits = {"train": map(example, range(40)), "validation": map(example, range(40, 80))}
    prepared.write(tmp_path / "data", "places365_small:2.*.*", splits | {"test": [example(0)]})
    home = tmp_path / "run"
    done = run(
        capsys,
        f"{FEW}:places,shots=3,steps=2",
        f"--config.backbone={backbone}",
        f"--config.data.data_dir={tmp_path / 'data'}",
        f"--workdir={home}",
        "--config.score.marquee_images=0",
        *SMALL,
    )
    assert done.code == 0, done.err
    found = json.loads((home / "results.json").read_text())
    assert tuple(found["data"]["classes"]) == names
    assert found["data"]["images"]["tune"] == 15
    assert found["accuracy"]["real"] is not None
    assert len((home / "chosen.csv").read_text().splitlines()) == 16


def builder_classes(name, folder):
    import tensorflow_datasets as tfds

    return tfds.builder(name, data_dir=folder).info.features["label"].names


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "no few-shot set '', expected imagenette, imagewoof, places, animal-faces"),
        ("animal-faces", "animal-faces is a folder that you fetch: AFHQ's train/ with cat/"),
        ("places,shot=5", "fewshot.py:places,shot=5 has 'shot=5', expected shots=NUMBER"),
    ],
)
def test_few_shot_sets_that_cannot_be(argument, message, tmp_path, capsys):
    done = run(capsys, f"{FEW}:{argument}", f"--workdir={tmp_path / 'run'}")
    assert message in done.error() and done.code == 2


def test_the_classes_of_few_shot_sets_are_there(tmp_path):
    from maskgit_prompt.data.sets import fewshot

    for found in fewshot.SETS.values():
        if found.dataset:
            known = builder_classes(found.dataset, tmp_path)
            assert {name.partition("=")[0] for name in found.classes} <= set(known)

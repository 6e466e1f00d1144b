"""Sets by lists through `main`: VTAB-1k as a folder, written and read; the fine-grained sets."""

import json

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import config as defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.sets import vtab
from tests import prepared, tiny
from tests.jobs.running import ROOT, run

WRITE = f"--config={ROOT}/configs/vtab_folder.py"
# In place of train800 and val200, which small data does not have.
SLICES = {
    "svhn": {"train800": "train[:8]", "val200": "train[20:24]", "test": "test"},
    "smallnorb_azimuth": {"train800": "train[:8]", "val200": "test[:4]", "test": "test[4:]"},
    "dsprites_orientation": {
        "train800": "train[:8]",
        "val200": "train[8:12]",
        "test": "train[12:]",
    },
    "kitti_closest_vehicle_distance": {
        "train800": "train[:8]",
        "val200": "validation[:4]",
        "test": "test",
    },
}
SWEEP = (
    "--config.sweep.weight_decays=0.0",
    "--config.sweep.learning_rates=1.0",
    "--config.sweep.seeds=1",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    sets = {vtab.BY_NAME[task].dataset for task in SLICES}
    names = [name for name in prepared.BUILDERS if name.partition(":")[0] in sets]
    prepared.write_all(folder, names=names)
    return folder


@pytest.fixture
def few(monkeypatch):
    def slices(task, split, counts):
        own = SLICES[task.name]
        return own.get(split) or f"{own['train800']}+{own['val200']}"

    monkeypatch.setattr(vtab.Task, "slices", slices)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def test_what_is_written_is_what_tfds_has(data, few, tmp_path, capsys):
    flags = (f"{WRITE}:{','.join(SLICES)}", f"--config.data.data_dir={data}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'lists'}")
    assert done.code == 0, done.err
    for task in SLICES:
        for split, validation in (("train800", "val200"), ("train800val200", "")):
            one = defaults.vpt_vtab(defaults.sweep(), "", "vpt_vtab.py").data
            one.task, one.split, one.validation, one.data_dir = task, split, validation, str(data)
            theirs = loading.load(one, 16, None, "bilinear")
            one.path, one.data_dir = str(tmp_path / "lists"), ""
            ours = loading.load(one, 16, None, "bilinear")
            assert ours.images.classes == theirs.images.classes
            for part in ("tune", "judge", "test"):
                a, b = getattr(ours, part), getattr(theirs, part)
                np.testing.assert_array_equal(ours.labels(a), theirs.labels(b))
                np.testing.assert_array_equal(ours.images.read(a), theirs.images.read(b))
    picture = tmp_path / "lists" / "smallnorb_azi" / "images" / "test" / "0000.png"
    assert Image.open(picture).mode == "L"


def test_a_task_that_is_written_is_kept(data, few, tmp_path, capsys):
    home = tmp_path / "lists"
    flags = (f"--config.data.data_dir={data}", f"--workdir={home}")
    assert run(capsys, f"{WRITE}:svhn", *flags).code == 0
    (home / "svhn" / "test.txt").write_text("mine")
    done = run(capsys, f"{WRITE}:svhn,dsprites_orientation", *flags)
    assert done.code == 0 and "svhn:" not in done.out and "dsprites_orientation: 24" in done.out
    assert (home / "svhn" / "test.txt").read_text() == "mine"
    # As if it had been killed before its lists were written.
    (home / "svhn" / "classes.txt").unlink()
    assert run(capsys, f"{WRITE}:svhn", *flags).code == 0
    assert (home / "svhn" / "test.txt").read_text().startswith("images/test/0000.png ")
    done = run(capsys, f"{WRITE}:svhn,dtd", *flags)
    assert "1 of 2 tasks are not written: dtd; see the list above" in done.error()
    done = run(capsys, f"{WRITE}:dtd", *flags)
    assert "no data: none of 1 tasks is prepared" in done.error()


def test_published_settings_on_a_folder(encoder, tmp_path, capsys):
    home = tmp_path / "lists" / "dmlab"
    home.mkdir(parents=True)
    for i in range(18):
        Image.new("RGB", (20, 20), (40 * (i % 6), 9, 9)).save(home / f"{i}.png")
    for name, numbers in (
        ("train800", range(6)),
        ("val200", range(6, 12)),
        ("test", range(12, 18)),
    ):
        (home / f"{name}.txt").write_text("".join(f"{i}.png {i % 6}\n" for i in numbers))
    both = (home / "train800.txt").read_text() + (home / "val200.txt").read_text()
    (home / "train800val200.txt").write_text(both)
    config = f"--config={ROOT}/configs/vpt_vtab.py"
    flags = (
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'run'}",
        "--config.sweep.seeds=1",
    )
    options = f"folder={tmp_path / 'lists'},settings=vpt-demo,epochs=2"
    done = run(capsys, f"{config}:dmlab,eurosat,{options}", *flags)
    assert "1 of 2 tasks are not done: eurosat" in done.error()
    assert "  missing  eurosat" in done.out and f"  there    dmlab{'':26}{home}" in done.out
    told = "dmlab: settings of KMnP/vpt at 4410440, demo.ipynb: ViT-B/16 of ImageNet-21k, deep "
    assert f"{told}prompts; 46.62 ± 0.47 % there" in done.out
    _, row = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert row["images"] == {"tune": 12, "heldout": 6} and row["steps"] == 1
    assert (row["tokens"], row["learning_rate"], row["weight_decay"]) == (100, 1.0, 0.001)
    done = run(capsys, f"{config}:dmlab,svhn,{options}", *flags)
    assert "config.sweep.settings = 'vpt-demo' has none for svhn" in done.error()


# --- Fine-grained sets ----------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path):
    """FOLDER/cub and FOLDER/dogs: two colours, which stay what they are in every window."""
    for name in ("cub", "dogs"):
        home = tmp_path / "sets" / name
        (home / "images").mkdir(parents=True)
        for split, number in (("train", 8), ("val", 4), ("test", 6)):
            files = {}
            for i in range(number):
                colour = (220, 30, 30) if i % 2 else (30, 30, 220)
                files[f"{split}{i}.jpg"] = i % 2
                Image.new("RGB", (40, 24), colour).save(home / "images" / f"{split}{i}.jpg")
            (home / f"{split}.json").write_text(json.dumps(files))
    return tmp_path / "sets"


@pytest.mark.parametrize("method", ["linear", pytest.param("prompt", marks=pytest.mark.slow)])
def test_fine_grained_sets(method, sets, encoder, tmp_path, capsys):
    done = run(
        capsys,
        f"--config={ROOT}/configs/vpt_fgvc.py:{sets},cub,dogs,cars,epochs=30,method={method}",
        *SWEEP,
        *(["--config.sweep.tokens=2"] if method == "prompt" else []),
        "--config.train.batch_size=8",
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert "1 of 3 tasks are not done: cars" in done.error()
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    cub, dogs, cars = found["rows"]
    assert [row["task"] for row in found["rows"]] == ["cub", "dogs", "cars"]
    for row in (cub, dogs):
        assert row["group"] == "fine-grained" and row["accuracy"] == 1.0
        assert row["images"] == {"tune": 12, "heldout": 6}
    assert cars["status"] == "failed" and cars["error"].startswith("put the images of cars and tr")
    assert found["protocol"].startswith("VPT's for fine-grained sets")
    assert [line["group"] for line in found["means"]][0] == "fine-grained"


def test_other_windows_at_every_step(sets, encoder, tmp_path):
    from maskgit_prompt import backbones
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.classification import inputs, plan

    config = defaults.vpt_fgvc(defaults.sweep(), f"{sets},method=linear", "vpt_fgvc.py")
    config.data.task, config.train.batch_size = "cub", 8
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(sets / "cub" / "images" / f"train{i}.jpg")
    one = plan.make_plan(config, backbones.load(encoder), sharding.make_mesh(), tmp_path / "run")
    given = inputs.source(one)
    assert given(one.data.tune[:2]).keys() == {"images"}  # not features: they change
    first, again, other = (inputs.Batches(one, given, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first(3)["images"], again(3)["images"])
    same, of_two = one.data.tune, inputs.Batches(one, given, 0)
    assert np.any(of_two._windows(3, same) != of_two._windows(4, same))
    assert np.any(first(3)["images"] != other(3)["images"])
    # Every image is a window of its own, or the mirror of one.
    batch = first(0)
    rows = one.data.tune[np.argsort(one.data.images.labels[one.data.tune], kind="stable")]
    steps = np.linspace(0, 0.999, 40)
    places = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    windows = [one.data.images.read_windows(np.full(len(places), r), places) for r in rows]
    windows = np.concatenate(windows)
    mirrored = 0
    for image in batch["images"]:
        straight = (windows == image).all((1, 2, 3)).any()
        assert straight or (windows == image[:, ::-1]).all((1, 2, 3)).any()
        mirrored += not straight
    assert 0 < mirrored < 8


def test_sets_that_cannot_be(sets, encoder, tmp_path, capsys):
    config = f"--config={ROOT}/configs/vpt_fgvc.py"
    flags = (f"--config.backbone={encoder}", f"--workdir={tmp_path / 'run'}")
    for arg, message in (
        ("", "config.data.path is empty, expected the folder of the sets"),
        (str(tmp_path / "nowhere"), f"no folder {tmp_path / 'nowhere'} (working folder"),
        (f"{sets},birds", "no set 'birds'; expected some of cub, nabirds, flowers, dogs, cars"),
        (f"{sets},cars", "no data: none of 1 tasks is prepared"),
    ):
        assert message in run(capsys, f"{config}:{arg}", *flags).error()
    emoji = (f"--config={ROOT}/configs/classify.py", "--config.protocol=vpt-fgvc")
    done = run(capsys, *emoji, *flags)
    assert (
        "takes other windows of an image at every step, which twemoji cannot give" in done.error()
    )
    done = run(capsys, *emoji, "--config.data.flip=True", *flags)
    assert "the protocol crops and mirrors" in done.error()

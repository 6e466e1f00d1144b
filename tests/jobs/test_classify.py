"""Classifiers through `main`: tuned, judged, stored, used again; an encoder of random weights."""

import csv
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import backbones, params, streams
from maskgit_prompt import config as defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.jobs.sweep import plan_of
from maskgit_prompt.tasks.classification import sizes
from tests import tiny
from tests.jobs.running import ROOT, run

CLASSIFY = f"--config={ROOT}/configs/classify.py"
PREDICT = f"--config={ROOT}/configs/predict.py"
QUICK = (
    "--config.train.batch_size=8",
    "--config.train.epochs=20",
    "--config.train.tensorboard=False",
    "--config.train.log_every=5",
    "--config.optimizer.learning_rate=4.0",
)
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 200)}


def write_colours(folder: pathlib.Path, number: int = 10) -> pathlib.Path:
    """FOLDER/COLOUR/0.png, …: noise around a colour."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(number):
            pixels = np.clip(np.array(colour) + rng.normal(0, 30, (20, 20, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> pathlib.Path:
    return write_colours(tmp_path_factory.mktemp("colours") / "images")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture
def tuned(images, encoder, tmp_path, capsys):
    """home of a finished run: method -> its workdir."""

    def make(method: str = "prompt", name: str = "", *flags: str) -> pathlib.Path:
        home = tmp_path / (name or method)
        done = run(
            capsys,
            f"{CLASSIFY}:{images}",
            *QUICK,
            f"--config.backbone={encoder}",
            f"--config.method={method}",
            f"--workdir={home}",
            *(["--config.prompt.tokens=2"] if method == "prompt" else []),
            *flags,
        )
        assert done.code == 0, done.err
        return home

    return make


def read(path: pathlib.Path):
    return json.loads(path.read_text())


def test_a_run_leaves_what_it_found(tuned):
    home = tuned("prompt", "", "--config.train.evaluate_every=10")
    found = read(home / "results.json")
    assert found["accuracy"]["heldout"] > 0.8  # three colours
    assert found["images"] == {"tune": 18, "validation": 6, "heldout": 6}
    # 3 blocks of 2 tokens of width 16, and a head of 16 x 3 and 3.
    assert found["trainable"] == 3 * 2 * 16 + 16 * 3 + 3
    assert found["interval"][0] < found["accuracy"]["heldout"] <= found["interval"][1]
    rows = list(csv.DictReader((home / "predictions.csv").open()))
    right = [row["class"] == row["answer"] for row in rows]
    assert len(rows) == 6 and np.mean(right) == found["accuracy"]["heldout"]
    placed = list(csv.DictReader((home / "features.csv").open()))
    assert [(row["file"], row["class"]) for row in placed] == [
        (row["file"], row["class"]) for row in rows
    ]
    x, y = np.float64([(row["first_axis"], row["second_axis"]) for row in placed]).T
    assert np.var(x) > np.var(y) > 0 and abs(x.mean()) < 1e-3 * np.std(x)
    page = (home / "report.html").read_text()
    assert "Where it is wrong" in page or found["accuracy"]["heldout"] == 1
    assert "share of wrong answers while tuning" in page.lower()
    for name in ("confusion", "features", "loss", "errors"):
        assert (home / "samples" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_seed_gives_the_same_file(tuned):
    first, second = tuned("prompt", "first"), tuned("prompt", "second")
    names = ("classifier.safetensors", "predictions.csv", "features.csv")
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    other = tuned("prompt", "other", "--config.seed=1")
    assert (other / names[0]).read_bytes() != (first / names[0]).read_bytes()


def answered_again(home, images, encoder, workdir, capsys) -> dict[str, list]:
    """What a run's stored classifier says of the images: file -> (class, probability) by rank."""
    done = run(
        capsys,
        f"{PREDICT}:{images}",
        f"--config.classifiers={home}/classifier.safetensors",
        f"--config.backbone={encoder}",
        f"--workdir={workdir}",
    )
    assert done.code == 0, done.err
    pictures = read(workdir / "predictions.json")["pictures"]
    return {one["file"]: next(iter(one["answers"].values())) for one in pictures}


@pytest.mark.parametrize(
    "method",
    [
        *("linear", "cls_reinit"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("last_1", "lora")),
    ],
)
def test_a_stored_classifier_answers_as_the_run_did(
    method, tuned, images, encoder, tmp_path, capsys
):
    home = tuned(method)
    answers = answered_again(home, images, encoder, tmp_path / "predicted", capsys)
    assert len(answers) == 30
    for row in csv.DictReader((home / "predictions.csv").open()):
        (best, p), *rest = answers[row["file"]]
        assert best == row["answer"] and abs(p - float(row["probability"])) < 2e-3
        assert len(rest) == 2 and abs(p + sum(q for _, q in rest) - 1) < 1e-3


@pytest.mark.parametrize("location", ["pad", "below"])
def test_prompts_of_pixels(location, tuned, images, encoder, tmp_path, capsys):
    """They train, are stored, and answer again as they did."""
    flags = ("--config.prompt.tokens=4", f"--config.prompt.location={location}")
    home = tuned("prompt", location, *flags)
    found = read(home / "results.json")
    assert found["accuracy"]["heldout"] > 0.8
    # A frame of 4 pixels around 16; 4 channels and a kernel of 8 x 8 patches; a head for 3 classes.
    numbers = {"pad": (24**2 - 16**2) * 3, "below": 16**2 * 4 + 8**2 * 4 * 16}
    assert found["trainable"] == numbers[location] + 16 * 3 + 3
    stored = safetensors.numpy.load_file(home / "classifier.safetensors")
    names = {"pad": {"sides", "ends"}, "below": {"channels", "patches/kernel"}}
    assert {f"prompt/{name}" for name in names[location]} < stored.keys()
    first = run_of(found["config"])
    for name in names[location]:
        moved = np.abs(stored[f"prompt/{name}"] - first[f"prompt/{name}"])
        assert (moved > 0).mean() > 0.9
    answers = answered_again(home, images, encoder, tmp_path / "predicted", capsys)
    for row in csv.DictReader((home / "predictions.csv").open()):
        (best, p), *_ = answers[row["file"]]
        assert best == row["answer"] and abs(p - float(row["probability"])) < 2e-3


@pytest.mark.parametrize("kind", ["convnext", pytest.param("resnet", marks=pytest.mark.slow)])
def test_frames_around_images_of_convolutional_networks(kind, images, tmp_path, capsys):
    """They train alone, and answer again as they did."""
    encoder = tiny.write_encoder(tmp_path / "encoder", kind=kind)
    done = run(
        capsys,
        f"{CLASSIFY}:{images}",
        *QUICK,
        f"--config.backbone={encoder}",
        "--config.prompt.location=pad",
        "--config.prompt.tokens=3",
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.code == 0, done.err
    # A frame of 3 pixels around 16; a head for 3 classes.
    features = {"convnext": 16, "resnet": 2048}[kind]
    numbers = (22**2 - 16**2) * 3 + (features + 1) * 3
    assert read(tmp_path / "run" / "results.json")["trainable"] == numbers
    answers = answered_again(tmp_path / "run", images, encoder, tmp_path / "again", capsys)
    for row in csv.DictReader((tmp_path / "run" / "predictions.csv").open()):
        (best, p), *_ = answers[row["file"]]
        assert best == row["answer"] and abs(p - float(row["probability"])) < 2e-3


def run_of(config: dict) -> dict[str, np.ndarray]:
    """What stands around the encoder before a run's first step, by path."""
    made = sizes.of_config(ConfigDict(config), tiny.ENCODER, 3)
    key = jax.random.key(streams.seed_of(config["seed"], "prompt"))
    return params.flatten(sizes.initial(made, tiny.encoder().part("encoder").tree, key))


def test_several_classifiers_and_their_ensemble(tuned, images, encoder, tmp_path, capsys):
    files = [tuned("linear") / "classifier.safetensors", tuned("bias") / "classifier.safetensors"]
    (tmp_path / "list.txt").write_text(f"{images}/red/0.png\n{images}/blue/0.png\nnone.png\n")
    both = [f"--config.classifiers={file}" for file in files]
    common = (f"{PREDICT}:{tmp_path}/list.txt", *both, f"--config.backbone={encoder}")
    done = run(capsys, *common, f"--workdir={tmp_path / 'each'}")
    assert done.code == 0 and "left out 1 picture: none.png (" in done.err
    each = read(tmp_path / "each" / "predictions.json")["pictures"]
    assert [sorted(p["answers"]) for p in each] == [sorted(map(str, files))] * 2
    done = run(capsys, *common, "--config.ensemble=True", f"--workdir={tmp_path / 'all'}")
    assert done.code == 0
    all_of_them = read(tmp_path / "all" / "predictions.json")["pictures"]
    for one, together in zip(each, all_of_them, strict=True):
        shares = [dict(map(tuple, answers)) for answers in one["answers"].values()]
        for name, p in together["answers"]["ensemble"]:
            assert abs(p - np.mean([share[name] for share in shares])) < 2e-4


# --- Refused, in one line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--config.method=lobra",), "config.method = 'lobra', expected prompt, linear"),
        (("--config.protocol=vtp",), "config.protocol = 'vtp', expected backbone, vpt"),
        (("--config.method=last_4",), "config.method = 'last_4', but the encoder has 3 blocks"),
        (
            ("--config.method=linear", "--config.prompt.tokens=3"),
            "config.prompt.tokens = 3 has no use with config.method = 'linear'",
        ),
        (
            ("--config.lora.rank=4",),
            "config.lora.rank = 4 has no use with config.method = 'prompt'",
        ),
        (("--config.trainable=heads/.*",), "config.trainable: 'heads/.*' matches no parameter"),
        (("--config.prompt.blocks=4",), "config.prompt.blocks = 4, expected 0 to the 3 that there"),
        (
            ("--config.prompt.location=pad", "--config.prompt.tokens=3"),
            "config.prompt.tokens = 3 makes images of 22 pixels a side, which patches of 8 do not",
        ),
        (
            ("--config.model=alexnet",),
            "config.model = 'alexnet', expected convnext or resnet or swin or vit",
        ),
    ],
)
def test_settings_that_do_not_fit(flags, message, images, encoder, tmp_path, capsys):
    done = run(
        capsys,
        f"{CLASSIFY}:{images}",
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'run'}",
        *flags,
    )
    assert done.code in (1, 2) and message in done.error()
    assert not (tmp_path / "run").exists()


def test_classes_that_a_classifier_cannot_learn(images, encoder, tmp_path, capsys):
    flags = (f"--config.backbone={encoder}", f"--workdir={tmp_path / 'run'}")
    done = run(capsys, f"{CLASSIFY}:{images}", *flags, "--config.data.classes=red")
    assert "has one class, 'red'; a classifier needs two or more" in done.error()
    (tmp_path / "few" / "a").mkdir(parents=True)
    (tmp_path / "few" / "b").mkdir()
    (tmp_path / "few" / "a" / "0.png").write_bytes((images / "red" / "0.png").read_bytes())
    (tmp_path / "few" / "b" / "0.png").write_bytes((images / "blue" / "0.png").read_bytes())
    done = run(capsys, f"{CLASSIFY}:{tmp_path / 'few'}", *flags)
    assert "no images are held out; add images of each class" in done.error()


def test_another_backbone_and_a_damaged_file(tuned, images, encoder, tmp_path, capsys):
    file = tuned("linear") / "classifier.safetensors"
    other = tiny.write_encoder(tmp_path / "other", seed=1)
    common = (f"{PREDICT}:{images}", f"--workdir={tmp_path / 'predicted'}")
    done = run(capsys, *common, f"--config.classifiers={file}", f"--config.backbone={other}")
    assert "but config.backbone is 'tiny' with fingerprint" in done.error()
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-9])
    for path, message in (
        (tmp_path / "cut.safetensors", "copy it again"),
        (tmp_path / "none.safetensors", "expected the classifier.safetensors of a run"),
        (pathlib.Path(encoder) / "encoder.safetensors", "holds no classifier"),
    ):
        flags = (f"--config.classifiers={path}", f"--config.backbone={encoder}")
        done = run(capsys, *common, *flags)
        assert message in done.error()
    done = run(capsys, *common, f"--config.backbone={encoder}")
    assert "no classifier: give --config.classifiers=" in done.error()
    done = run(
        capsys, PREDICT, f"--workdir={tmp_path / 'predicted'}", f"--config.classifiers={file}"
    )
    assert "config.data.path is empty; expected pictures" in done.error()
    assert not (tmp_path / "predicted").exists()


# --- Sweeps and attacks --------------------------------------------------------------------------


SWEEP = (
    "--config.train.batch_size=8",
    "--config.train.epochs=20",
    "--config.sweep.learning_rates=0.001",
    "--config.sweep.learning_rates=4.0",
    "--config.sweep.weight_decays=0.0",
    "--config.sweep.seeds=1",
    "--config.sweep.seeds=2",
)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prompt", "linear"])
def test_a_sweep_of_a_folder(method, images, encoder, tmp_path, capsys):
    lengths = ("--config.sweep.tokens=1", "--config.sweep.tokens=2") if method == "prompt" else ()
    flags = (
        f"--config={ROOT}/configs/sweep.py:{images}",
        *SWEEP,
        *lengths,
        f"--config.method={method}",
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'sweep'}",
    )
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    [row] = read(tmp_path / "sweep" / "results.json")["rows"]
    assert row["images"] == {"tune": 24, "heldout": 6} and len(row["accuracies"]) == 2
    assert row["accuracy"] > 0.5 and row["learning_rate"] == 4.0
    rows = read(tmp_path / "sweep" / "images" / "rows.json")["rows"]
    assert len(rows) == (4 if method == "prompt" else 2)
    before = (tmp_path / "sweep" / "results.md").read_bytes()
    done = run(capsys, *flags)
    assert done.code == 0 and (tmp_path / "sweep" / "results.md").read_bytes() == before


@pytest.mark.parametrize(("with_judge", "number"), [(True, 24), (False, 18)])
def test_the_reported_runs_of_a_sweep_may_leave_out_the_images_that_decide(
    with_judge, number, images, encoder, tmp_path
):
    config = defaults.classify_folder(defaults.sweep(), str(images), "sweep.py")
    config.sweep.with_judge, config.train.batch_size = with_judge, 8
    for final, expected in ((False, 18), (True, number)):
        plan = plan_of(
            config, backbones.load(encoder), sharding.make_mesh(), tmp_path, "images", final
        )
        assert len(plan.data.tune) == expected


def test_a_sweep_with_an_empty_axis(images, encoder, tmp_path, capsys):
    done = run(
        capsys,
        f"--config={ROOT}/configs/sweep.py:{images}",
        "--config.sweep.seeds=()",
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'sweep'}",
    )
    assert "config.sweep.seeds = (), expected some, each once" in done.error()


@pytest.mark.slow
def test_attacks_lower_the_accuracy(tuned, images, encoder, tmp_path, capsys):
    files = [tuned("linear") / "classifier.safetensors", tuned("prompt") / "classifier.safetensors"]
    done = run(
        capsys,
        f"--config={ROOT}/configs/robustness.py:{images}",
        *(f"--config.classifiers={file}" for file in files),
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'attacked'}",
        "--config.epsilons=0.0",
        "--config.epsilons=64.0",
    )
    assert done.code == 0, done.err
    rows = read(tmp_path / "attacked" / "results.json")["rows"]
    assert len(rows) == 2 * 2 * 2
    for file in files:
        plain = read(file.parent / "results.json")["accuracy"]["heldout"]
        for attack in ("fgsm", "pgd"):
            none, much = (
                row["accuracy"]
                for row in rows
                if (row["classifier"], row["attack"]) == (str(file), attack)
            )
            assert none == plain and much < plain
    assert "| FGSM | linear |" in (tmp_path / "attacked" / "results.md").read_text()

"""The main job on folders of images, down to a single image."""

import json
import pathlib
import re

import pytest

from maskgit_prompt.tuning import tuned_prompt
from tests.jobs.running import FOLDER, SAMPLE, TINY, run, write_images

pytestmark = pytest.mark.slow

NO_MARQUEE = (*TINY, "--config.score.marquee_images=0")


def results(home: pathlib.Path) -> dict:
    return json.loads((home / "results.json").read_text())


def test_two_classes_with_enough_for_a_classifier(backbone, tmp_path, capsys):
    # Of 30 images: 18 to tune on, of which one shot is taken, 6 for the judge, 6 to score against.
    photos, home = write_images(tmp_path / "photos", cat=30, dog=30), tmp_path / "run"
    flags = (f"{FOLDER}:{photos},shots=1,steps=2", f"--config.backbone={backbone}", *TINY[1:])
    flags = (*flags, "--config.score.per_class=5", "--config.score.marquee_images=2")
    done = run(capsys, *flags, f"--workdir={home}")
    assert done.code == 0
    scores, kept, *missing, report, prompt = done.out.splitlines()[-7:]
    assert re.fullmatch(r"accuracy \S+ \[\S+, \S+\] \(real \S+, untuned \S+\)", scores)
    assert re.fullmatch(
        r"tiny keeps little of what tells these images apart \(PSNR \S+ dB.*\)", kept
    )
    assert (report, prompt.split()[0]) == (f"report: {home / 'report.html'}", "prompt:")
    found = results(home)
    assert missing == found["warnings"]
    assert found["data"] == {
        "name": "photos",
        "classes": ["cat", "dog"],
        "images": {"tune": 2, "judge": 12, "test": 12, "reference": 12},
        "reference": "held-out real images",
        "generated": 10,
        "shown": 2,
        "found": ["sizes: 16 x 16 pixels, all alike"],
    }
    assert found["steps"] == 2
    assert None not in found["accuracy"].values()
    assert set(found["frechet"].values()) == {None}
    assert found["warnings"] == [
        "No Fréchet distance, precision, recall, density and coverage: 10 generated images and 12 "
        "held-out real images, 50 of each are needed.",
        "No KID: 10 generated images and 12 held-out real images, 20 of each are needed.",
        "No count of near-copies: 12 held-out images, 50 are needed.",
    ]
    assert done.out.splitlines()[:4] == [
        f"found 60 images in {photos}",
        "  2 classes: cat 30, dog 30",
        "  sizes: 16 x 16 pixels, all alike",
        "  parts: 2 images to tune on, 12 to train the classifier on, 12 held out",
    ]
    made = sorted(str(path.relative_to(home)) for path in (home / "images").rglob("*.png"))
    assert made == [f"images/{name}/0000{i}.png" for name in ("cat", "dog") for i in range(5)]
    prompt = tuned_prompt.load(home / "prompt.safetensors")
    assert (prompt.classes, prompt.instance_classes) == (("cat", "dog"), (0, 1))


NEIGHBOURS = "Fréchet distance, precision, recall, density and coverage"


ONE_CLASS = "No accuracy: the only class is 'photos', and a classifier tells classes apart."


def too_few(generated: int, heldout: int) -> list[str]:
    """What a run of one class says of its distances."""
    counts = f"{generated} generated images and {heldout} held-out real images"
    return [
        f"No {NEIGHBOURS}: {counts}, 50 of each are needed.",
        f"No KID: {counts}, 20 of each are needed.",
        f"No count of near-copies: {heldout} held-out images, 50 are needed.",
    ]


@pytest.mark.parametrize(
    "classes, images, warnings",
    [
        pytest.param(
            {"flat": 10},
            {"tune": 8, "judge": 0, "test": 2},
            [
                ONE_CLASS,
                *too_few(3, 2),
            ],
            id="one class, flat",
        ),
        pytest.param(
            {"cat": 1, "dog": 1},
            {"tune": 2, "judge": 0, "test": 0},
            [
                "No held-out loss: no images are held out.",
                "No accuracy: no images of class 'cat' are left to train a classifier on.",
                *too_few(6, 0),
            ],
            id="one image a class",
        ),
        pytest.param(
            {"flat": 1},
            {"tune": 1, "judge": 0, "test": 0},
            [
                "No held-out loss: no images are held out.",
                ONE_CLASS,
                *too_few(3, 0),
            ],
            id="one image only",
        ),
    ],
)
def test_few_images(classes, images, warnings, backbone, tmp_path, capsys):
    photos, home = write_images(tmp_path / "photos", **classes), tmp_path / "run"
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={backbone}", *NO_MARQUEE)
    done = run(capsys, *flags, f"--workdir={home}")
    assert done.code == 0, done.err
    found = results(home)
    assert found["data"]["images"] == images | {"reference": images["test"]}
    assert done.out.splitlines()[-2 - len(warnings) : -2] == warnings
    assert isinstance(found["loss"]["train"], float)
    for name in ("accuracy", "frechet", "kid", "precision_recall"):
        assert set(found[name].values()) == {None}
    assert (found["loss"]["heldout"] is None) == (images["test"] == 0)
    assert found["near_copies"]["count"] is None
    assert found["near_copies"]["pairs"]
    assert found["reconstruction"]["split"] == ("test" if images["test"] else "tune")
    assert found["warnings"] == warnings
    page = (home / "report.html").read_text()
    for text in warnings:
        assert text.replace("'", "&#x27;") in page


def test_marquee_and_samples_of_one_image(backbone, tmp_path, capsys):
    photos, home = write_images(tmp_path / "photos", flat=1), tmp_path / "run"
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={backbone}", *TINY)
    flags = (*flags, "--config.score.per_class=1", "--config.score.marquee_images=1")
    assert run(capsys, *flags, f"--workdir={home}").code == 0
    rows = results(home)["marquee"]
    assert [row["diversity"] for row in rows] == [None] * 6  # of one image there is none
    assert all(0 < row["distance_to_instance"] < 1 for row in rows)
    flags = (f"--config.prompt={home / 'prompt.safetensors'}", f"--config.backbone={backbone}")
    flags = (*flags, "--config.header=instance-class", "--config.num=1")
    done = run(capsys, SAMPLE, *flags, f"--workdir={tmp_path / 'more'}")
    assert (done.code, done.out[:8]) == (0, "1 image ")


def test_a_backbone_without_features_gives_no_distances(backbone, tmp_path, capsys):
    config = json.loads((pathlib.Path(backbone) / "config.json").read_text())
    del config["parts"]["features"], config["sha256"]
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer", "transformer"):
        file = f"{name}.safetensors"
        (bare / file).write_bytes((pathlib.Path(backbone) / file).read_bytes())
    photos, home = write_images(tmp_path / "photos", flat=10), tmp_path / "run"
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={bare}", *NO_MARQUEE)
    assert run(capsys, *flags, f"--workdir={home}").code == 0
    found = results(home)
    assert set(found["frechet"].values()) == {None}
    reason = "backbone 'tiny' has no network to measure them with"
    assert found["warnings"][1:] == [
        "No Fréchet distance, KID, precision, recall, density, coverage and count of near-copies: "
        f"{reason}."
    ]
    assert found["near_copies"]["reason"] == reason
    assert found["near_copies"]["pairs"][0]["feature"] is None
    assert found["reconstruction"]["feature_distance"] is None


def test_a_corrupt_image_is_skipped_by_name_or_refused(backbone, tmp_path, capsys):
    photos = write_images(tmp_path / "photos", cat=3)
    (photos / "cat" / "1.png").write_bytes((photos / "cat" / "1.png").read_bytes()[:100])
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={backbone}", *NO_MARQUEE)
    for n, strict in enumerate(("--strict", "--config.data.strict=True", "--config.data.strict")):
        done = run(capsys, *flags, strict, f"--workdir={tmp_path / f'strict{n}'}")
        assert done.code == 1
        error = done.error()
        assert f"1 of 3 images in {photos} cannot be read: cat/1.png" in error
        assert "leave strict off to skip them" in error
        assert not (tmp_path / f"strict{n}").exists()
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 0
    line = next(line for line in done.err.splitlines() if "skipped" in line)
    assert line.startswith("warning: ") and "skipped 1 of 3 images" in line and "cat/1.png" in line
    images = results(tmp_path / "run")["data"]["images"]
    assert images["tune"] + images["judge"] + images["test"] == 2


def test_what_lies_around_the_images_is_told_before_tuning(backbone, tmp_path, capsys):
    """A wrapped folder with leftovers, notes, copies, a broken file and a name of a lone byte."""
    photos = tmp_path / "photos"
    write_images(photos / "imgs", **{"cat": 5, "caf\udce9": 5})
    (photos / "imgs" / "cat" / "0 copy.png").write_bytes(
        (photos / "imgs" / "cat" / "0.png").read_bytes()
    )
    (photos / "imgs" / "cat" / "bad.png").write_bytes(b"")
    (photos / "imgs" / "cat" / "notes.txt").write_text("")
    (photos / "@eaDir").mkdir()
    home = tmp_path / "run"
    flags = (f"{FOLDER}:{photos}", f"--config.backbone={backbone}", *NO_MARQUEE)
    done = run(capsys, *flags, f"--workdir={home}")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:7] == [
        f"found 10 images in {photos}/imgs",
        r"  2 classes: caf\xe9 5, cat 5",
        "  sizes: 16 x 16 pixels, all alike",
        "  left out: ending in .txt: 1 (cat/notes.txt); of tools or storage: 1 (../@eaDir); "
        "cannot be read: 1 (cat/bad.png); copies of others of the class: 1 (cat/0 copy.png)",
        f"  note: read from {photos}/imgs, the only folder there",
        "  note: names of folders have characters that cannot be written: the classes are called "
        r"caf\xe9; rename the folders, or give the classes names in classes.txt",
        "  parts: 6 images to tune on, 2 to train the classifier on, 2 held out",
    ]
    found = json.loads((home / "found.json").read_text())
    assert found["where"] == f"{photos}/imgs" and len(found["left_out"]) == 4
    assert r"caf\xe9" in (home / "report.html").read_text()
    assert tuned_prompt.load(home / "prompt.safetensors").classes == (r"caf\xe9", "cat")

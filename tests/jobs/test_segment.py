"""Segmenters through `main`, on a folder of images and masks and an encoder of random weights."""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from maskgit_prompt.errors import UserError
from maskgit_prompt.jobs.masks import check_stems
from maskgit_prompt.tasks.segmentation import pictures
from maskgit_prompt.tuning import tuned_classifier
from tests import tiny
from tests.jobs.running import ROOT, run

SEGMENT = f"--config={ROOT}/configs/segment.py"
QUICK = (
    "--config.train.batch_size=8",
    "--config.train.epochs=40",
    "--config.train.tensorboard=False",
    "--config.head.doublings=1",
    "--config.head.hidden=8",
    "--config.prompt.tokens=2",
    "--config.optimizer.learning_rate=0.02",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Sixteen images, each with one quarter bright; the mask says which pixels are."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("sets") / "lights"
    for kind in ("images", "masks"):
        (path / kind).mkdir(parents=True)
    for i in range(16):
        mask = np.zeros((2, 2), np.uint8)
        mask[i // 2 % 2, i % 2] = 1
        mask = np.kron(mask, np.ones((10, 10), np.uint8))
        pixels = np.clip(60 + 150 * mask[..., None] + rng.normal(0, 10, (20, 20, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path / "images" / f"{i:02}.jpg")
        Image.fromarray(mask).save(path / "masks" / f"{i:02}.png")
    (path / "classes.txt").write_text("dark\nbright\n")
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny.write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def test_a_run_leaves_what_it_found(folder, encoder, tmp_path, capsys):
    home = tmp_path / "run"
    flags = (f"{SEGMENT}:{folder}", *QUICK, f"--config.backbone={encoder}", f"--workdir={home}")
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    assert "found 16 images with masks in lights\n  2 classes: dark, bright" in done.out
    found = json.loads((home / "results.json").read_text())
    assert found["images"] == {"tune": 12, "heldout": 4}
    assert found["pixels"] == {"dark": 4 * 192, "bright": 4 * 64} and found["guess"] == 0.75
    assert found["accuracy"] > 0.9 and found["iou"]["bright"] > 0.6
    assert found["mean_iou"] == pytest.approx(np.mean(list(found["iou"].values())))
    # 3 blocks of 2 tokens of width 16; a convolution, a norm, a linear layer for two classes.
    assert found["trainable"] == 3 * 2 * 16 + (9 * 16 * 8 + 8) + 2 * 8 + (8 * 2 + 2)
    stored = safetensors.numpy.load_file(home / "segmenter.safetensors")
    assert all(name.startswith(("prompt/", "head/")) for name in stored)
    assert sum(x.size for x in stored.values()) == found["trainable"]
    kept = tuned_classifier.load(home / "segmenter.safetensors", tuned_classifier.SEGMENTER)
    assert (kept.classes, kept.method) == (("dark", "bright"), "prompt")
    page = (home / "report.html").read_text()
    assert "Mean IoU" in page and "held-out images, their masks, and the answers" in page.lower()
    for name in ("overlays", "classes", "loss"):
        assert (home / "samples" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    # New pictures get the masks that the run had, in a folder that can be read again.
    Image.open(folder / "images" / "00.jpg").resize((30, 24)).save(tmp_path / "new.png")
    done = run(
        capsys,
        f"--config={ROOT}/configs/masks.py:{tmp_path / 'new.png'}",
        f"--config.segmenter={home / 'segmenter.safetensors'}",
        f"--config.backbone={encoder}",
        f"--workdir={tmp_path / 'masks'}",
    )
    assert done.code == 0, done.err
    with Image.open(tmp_path / "masks" / "masks" / "new.png") as image:
        mask = np.asarray(image)
        assert image.getpalette()[:6] == pictures.palette(2).ravel().tolist()
    expected = np.asarray(Image.open(folder / "masks" / "00.png").resize((30, 24)))
    assert mask.shape == (24, 30) and (mask == expected).mean() > 0.85
    names = (tmp_path / "masks" / "classes.txt").read_text()
    assert names == "dark 89 89 89\nbright 242 48 48\n"
    # The same command again changes nothing.
    before = (home / "segmenter.safetensors").read_bytes()
    assert run(capsys, *flags).code == 0
    assert (home / "segmenter.safetensors").read_bytes() == before


@pytest.mark.slow
def test_drawn_scenes_and_biases(encoder, tmp_path, capsys):
    """What a file holds of the encoder is what is judged."""
    home = tmp_path / "run"
    done = run(
        capsys,
        SEGMENT,
        *(flag for flag in QUICK if "prompt" not in flag),
        "--config.method=bias",
        "--config.data.num=12",
        "--config.train.evaluate_every=10",
        f"--config.backbone={encoder}",
        f"--workdir={home}",
    )
    assert done.code == 0, done.err
    found = json.loads((home / "results.json").read_text())
    assert found["classes"][:3] == ["ground", "red", "orange"]
    assert found["images"] == {"tune": 9, "heldout": 3}
    stored = safetensors.numpy.load_file(home / "segmenter.safetensors")
    assert {"encoder/norm/bias", "head/out/bias"} < stored.keys()
    lines = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    last = [line["evaluated_heldout"] for line in lines if "evaluated_heldout" in line][-1]
    assert found["accuracy"] == pytest.approx(1 - last, abs=1e-6)
    assert "share of wrong pixels while tuning" in (home / "report.html").read_text().lower()


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--config.head.doublings=-1",), "config.head.doublings = -1, expected 0 or more"),
        (("--config.data.num=9",), "config.data.num = 9 has no use with config.data.path = "),
        (("--config.data.heldout=1.0",), "config.data.heldout = 1.0, expected 0 or more, and bel"),
    ],
)
def test_settings_that_do_not_fit(flags, message, folder, encoder, tmp_path, capsys):
    home = tmp_path / "run"
    common = (f"{SEGMENT}:{folder}", f"--config.backbone={encoder}", f"--workdir={home}")
    done = run(capsys, *common, *flags)
    assert done.code == 2 and message in done.error() and not home.exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        ((), "no segmenter: give --config.segmenter=DIR/segmenter.safetensors of a run"),
        (("--config.segmenter=none",), "no segmenter file none: expected the segmenter.safete"),
    ],
)
def test_masks_that_cannot_be_made(flags, message, folder, tmp_path, capsys):
    config = f"--config={ROOT}/configs/masks.py:{folder}/images"
    done = run(capsys, config, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 2 and message in done.error() and not (tmp_path / "run").exists()


def test_two_pictures_of_one_name_would_have_one_mask():
    check_stems(["a/0.png", "a/1.png"])
    with pytest.raises(UserError, match="a/0.png and b/0.jpg would have one mask, since they diff"):
        check_stems(["a/0.png", "b/0.jpg"])


def test_a_folder_without_masks(folder, tmp_path, capsys):
    done = run(capsys, f"{SEGMENT}:{folder}/images", f"--workdir={tmp_path / 'run'}")
    assert done.code == 2 and not (tmp_path / "run").exists()
    assert "images/images: expected PATH/images/NAME.jpg and PATH/masks" in done.error()

"""Two sets of images through the command: numbers, names, conventions, and bad input."""

import json
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.backbones import load
from maskgit_prompt.backbones.compiled import make_features
from maskgit_prompt.devices import sharding
from maskgit_prompt.importers import efficientnet
from maskgit_prompt.metrics import frechet
from maskgit_prompt.models.resizing import CONVENTIONS
from maskgit_prompt.tasks.evaluation import networks
from tests import perceptual_files
from tests.golden_models import Case, close
from tests.importers.pytorch_files import tensor, write_old
from tests.jobs.running import ROOT, run

EVALUATE = f"--config={ROOT}/configs/evaluate.py"
SIDE = 64
QUICK = ("--config.kid.subsets=5", "--config.directions=20")


@pytest.fixture(autouse=True)
def without_efficientnet(monkeypatch):
    monkeypatch.setattr(efficientnet, "installed", lambda: False)


def pictures(folder: pathlib.Path, count: int, seed: int, size=(SIDE, SIDE)) -> np.ndarray:
    """uint8 [count, height, width, 3], written as PNG files in a folder of two folders."""
    rng = np.random.default_rng(seed)
    height, width = size
    images = rng.integers(0, 256, (count, height, width, 3), np.uint8) // (1 + seed)
    write(folder, images)
    return images


def write(folder: pathlib.Path, images: np.ndarray) -> None:
    for i, image in enumerate(images):
        place = folder / "ab"[2 * i >= len(images)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03}.png")


def evaluate(capsys, folder, real, generated, *flags, name="scored"):
    return run(
        capsys,
        EVALUATE,
        f"--config.real={real}",
        f"--config.generated={generated}",
        f"--workdir={folder / name}",
        *QUICK,
        *flags,
    )


def results(folder, name="scored") -> dict:
    return json.loads((folder / name / "results.json").read_text())


def values(folder, name="scored") -> dict:
    return {k: x["value"] for k, x in results(folder, name)["scores"].items()}


def test_in_the_features_of_mini64(capsys, tmp_path):
    real = pictures(tmp_path / "real", 30, 0)
    generated = pictures(tmp_path / "made", 20, 1)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "made")
    assert done.code == 0, done.err
    found = results(tmp_path)
    # Images of 64 x 64 pixels are not resized for it, so these are the features of other jobs.
    look = make_features(load("mini64").part("features"), sharding.make_mesh())
    expected = frechet.frechet_of_features(look(real), look(generated))
    assert found["scores"]["frechet"]["value"] == pytest.approx(expected, rel=1e-4)
    assert found["scores"]["kid"]["counts"] == {"images": 20, "real": 30}
    assert found["scores"]["kid"]["interval"] and found["scores"]["kid"]["deviation"]
    assert found["network"]["network"] == "mini64"
    assert (found["network"]["resize"], found["seed"]) == ("legacy_pytorch", 2020)
    assert (found["real"]["images"], found["generated"]["images"]) == (30, 20)
    assert found["real"]["size"] == [SIDE, SIDE]
    assert "20 generated and 30 real images are fewer than 2,048" in found["warnings"][0]
    assert "20 generated and 30 real images" in done.err
    assert "20 generated images in the features of mini64, resized by legacy_pytorch" in done.out
    assert "FID" not in done.out + done.err and "fid" not in found["scores"]

    # The other way round: what was precision is recall. An archive holds the same images.
    with zipfile.ZipFile(tmp_path / "real.zip", "w") as archive:
        for file in sorted((tmp_path / "real").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
    done = evaluate(capsys, tmp_path, tmp_path / "made", tmp_path / "real.zip", name="turned")
    assert done.code == 0, done.err
    there, back = values(tmp_path), values(tmp_path, "turned")
    assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])
    assert there["frechet"] == pytest.approx(back["frechet"], rel=1e-6)

    # Statistics in place of the real images.
    stored = tmp_path / "scored/statistics.npz"
    done = evaluate(capsys, tmp_path, stored, tmp_path / "made", name="again")
    assert done.code == 0, done.err
    assert values(tmp_path, "again")["frechet"] == pytest.approx(there["frechet"], rel=1e-6)
    assert results(tmp_path, "again")["real"] == {"path": str(stored), "images": 30}
    assert "No KID, sliced distance, precision" in done.err
    assert not (tmp_path / "again/statistics.npz").exists()
    done = evaluate(
        capsys, tmp_path, stored, tmp_path / "made", "--config.resize=clean", name="otherwise"
    )
    assert done.code == 1
    assert "(resize 'legacy_pytorch', expected 'clean')" in done.error()
    assert not (tmp_path / "otherwise").exists()


def test_in_the_features_of_inception(capsys, tmp_path):
    """The golden's images are the real ones: their mean is that of the golden's features."""
    case = Case("inception/fid_small_images_tf1")
    write(tmp_path / "real", case["in_images_u8"].astype(np.uint8))
    pictures(tmp_path / "made", 4, 1, (96, 80))
    file = tmp_path / "pt_inception.pth"
    write_old(file, {name: tensor(x) for name, x in case.parameters.items()})
    flags = (f"--config.inception={file}", "--config.resize=legacy_tensorflow")
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "made", *flags,
                    "--config.splits=2")  # fmt: skip
    assert done.code == 0, done.err
    with np.load(tmp_path / "scored/statistics.npz") as stored:
        close(stored["mu"], case["out_pool3"].mean(axis=0), 1e-5)
        close(stored["sigma"], np.cov(case["out_pool3"].T), 1e-4)
        assert stored["mu_s"].shape == (2023,)
    found = results(tmp_path)
    assert {"fid", "sfid", "kid", "mind", "inception_score"} <= found["scores"].keys()
    assert found["network"]["network"] == "inception" and found["network"]["side"] == 299
    assert found["network"]["published_weights"] is False
    assert "pt_inception.pth has other weights than FID is published with" in done.err
    assert "FID" in done.out and found["scores"]["fid"]["value"] > 0


def test_images_are_brought_to_one_size_if_asked(capsys, tmp_path):
    pictures(tmp_path / "real", 3, 0, (48, 80))
    pictures(tmp_path / "real/more", 3, 0, (80, 48))
    pictures(tmp_path / "made", 5, 1)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "made")
    assert done.code == 1
    assert done.error().endswith(
        "more/a/000.png has 48 x 80 pixels and a/000.png 80 x 48, expected one size; set "
        "config.size=256 to crop and resize all of them"
    )
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "made", "--config.size=32")
    assert done.code == 0, done.err
    assert results(tmp_path)["real"]["size"] == [32, 32]
    assert "sharpness" not in done.err


def test_two_sizes_are_told_of(capsys, tmp_path):
    pictures(tmp_path / "real", 5, 0, (32, 48))
    pictures(tmp_path / "made", 5, 1)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "made")
    assert done.code == 0, done.err
    assert "Real images have 48 x 32 pixels and generated ones 64 x 64: their sharpn" in done.err


def test_bad_images(capsys, tmp_path):
    pictures(tmp_path / "real", 5, 0)
    pictures(tmp_path / "one", 1, 0)
    write(tmp_path / "black", np.zeros((4, SIDE, SIDE, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    write(tmp_path / "half", np.zeros((2, SIDE, SIDE, 3), np.uint8))
    (tmp_path / "half/a/000.png").write_bytes(b"no image")
    failed = lambda real, made: evaluate(capsys, tmp_path, tmp_path / real, tmp_path / made).error()
    assert f"config.generated = '{tmp_path}/one' holds 1 image, expected at least 2" in failed(
        "real", "one"
    )
    assert f"config.real = '{tmp_path}/black': all 4 images look the same" in failed(
        "black", "real"
    )
    assert "no pictures in" in failed("real", "empty")
    assert "one image alone can be read, expected at least 2" in failed("real", "half")
    assert "none.npz: expected statistics" in failed("none.npz", "real")
    assert not (tmp_path / "scored").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config.real=",), "config.real is empty"),
        (("--config.generated=",), "config.generated is empty"),
        (
            ("--config.resize=bicubic",),
            "config.resize = 'bicubic', expected legacy_pytorch, legacy",
        ),
        (("--config.fit=pad",), "config.fit = 'pad' has no use with config.size = 0"),
        (("--config.splits=5",), "config.splits = 5 has no use with config.inception = ''"),
        (("--config.kid.size=1",), "config.kid.size = 1, expected at least 2"),
        (("--config.inception=none.pth",), "config.inception = 'none.pth': no such file"),
        (("--config.inception=inception-fid",), "config.inception = 'inception-fid'"),
    ],
)
def test_wrong_use(capsys, tmp_path, cache_home, flags, message):
    pictures(tmp_path / "real", 2, 0)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "real", *flags)
    assert done.code == 2 and message in done.error()
    assert not (tmp_path / "scored").exists()


def test_wrong_weights(capsys, tmp_path):
    pictures(tmp_path / "real", 2, 0)
    file = perceptual_files.write(tmp_path / "other.pth", perceptual_files.lpips("alex")[1])
    flags = (f"--config.inception={file}",)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "real", *flags)
    assert "other.pth holds no Inception network of FID, expected Mixed_7c" in done.error()
    flags = (f"--config.inception={ROOT}/maskgit_prompt/backbones/embedded/mini64",)
    done = evaluate(capsys, tmp_path, tmp_path / "real", tmp_path / "real", *flags)
    assert "is of the kind 'convolutional', expected FID's Inception" in done.error()


def test_efficientnet_comes_before_mini64(monkeypatch, tmp_path):
    file = perceptual_files.write(tmp_path / "efficientnet.pth", perceptual_files.efficientnet())
    assert networks.find("", "clean", False).made.network == "mini64"
    monkeypatch.setattr(efficientnet, "installed", lambda: True)
    monkeypatch.setattr(efficientnet, "find", lambda: file)
    network = networks.find("", "clean", False)
    assert (network.made.network, network.made.resize) == ("efficientnet-lite0", "clean")
    assert (network.dims, network.side, network.is_inception) == (1280, 224, False)


def test_every_convention_sees_something_else(tmp_path):
    images = pictures(tmp_path, 3, 0, (48, 80))
    found = [
        networks.make_looking(networks.find("", name, False), sharding.make_mesh(), 3)([images])
        for name in CONVENTIONS
    ]
    for i, one in enumerate(found):
        assert one.features.shape == (3, 256) and one.spatial is None and one.logits is None
        for other in found[:i]:
            assert np.abs(one.features - other.features).max() > 1e-3

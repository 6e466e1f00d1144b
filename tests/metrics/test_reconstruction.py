"""How well images are kept: by hand, and what the embedded backbone says of its own pictures."""

import json

import numpy as np
import pytest

from benchmarks import reconstruction as benchmark
from maskgit_prompt import backbones
from maskgit_prompt.backbones.load import EMBEDDED
from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import reconstruction


def flat(*values, size=4):
    values = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (len(values), size, size, 3)).copy()


def test_psnr_is_of_the_mean_square_of_all_images():
    """Differences of 51 and 0 grey levels, 0.2 and 0: the mean square is 0.02."""
    found = reconstruction.measure(flat(0, 100), flat(51, 100))
    assert found["psnr"] == pytest.approx(-10 * np.log10(0.02))
    assert (found["images"], found["size"], found["feature_distance"]) == (2, 4, None)


def test_equal_images_have_a_finite_psnr():
    assert reconstruction.measure(flat(0), flat(0))["psnr"] == pytest.approx(78.13, abs=0.01)


def test_the_feature_distance_is_over_that_of_two_images():
    """Features 0, 3, 9 are 3, 9 and 6 apart, 6 on average; moved by 1, 1 and 4, by 2 on average."""
    column = lambda *values: np.array(values, np.float32)[:, None]
    features = column(0, 3, 9), column(1, 2, 5)
    found = reconstruction.measure(flat(1, 2, 3), flat(1, 2, 3), features)
    assert found["feature_distance"] == pytest.approx(2 / 6)


def test_of_one_image_or_of_equal_ones_there_is_no_feature_distance():
    one = np.zeros((1, 2)), np.ones((1, 2))
    assert reconstruction.measure(flat(1), flat(2), one)["feature_distance"] is None
    equal = np.zeros((2, 2)), np.ones((2, 2))
    assert reconstruction.measure(flat(1, 1), flat(2, 2), equal)["feature_distance"] is None


@pytest.mark.parametrize(
    "psnr, distance, kept",
    [
        (24.4, 0.14, "details"),  # mini's own pictures
        (29.9, 0.10, "details"),  # digits
        (22.0, 0.20, "details"),
        (21.9, 0.20, "shapes"),
        (19.2, 0.28, "shapes"),  # birds
        (17.0, 0.51, "shapes"),  # icons
        (25.0, 0.21, "shapes"),
        (20.0, 0.85, "little"),  # grass
        (29.8, 0.78, "little"),  # craters of the moon
        (13.9, 0.10, "little"),
        (30.0, None, "details"),  # without features
        (20.0, None, "shapes"),
        (10.0, None, "little"),
    ],
)
def test_verdicts(psnr, distance, kept):
    found = {"psnr": psnr, "feature_distance": distance}
    assert reconstruction.verdict(found) == kept
    assert reconstruction.in_words("mini", kept).startswith("mini keeps ")


def test_bad_images():
    with pytest.raises(UserError, match="0 real images: at least 1 are needed"):
        reconstruction.measure(flat(), flat())
    with pytest.raises(UserError, match="images of 4x4 and of 8x8 pixels"):
        reconstruction.measure(flat(0), flat(0, size=8))


@pytest.mark.parametrize("name", sorted(EMBEDDED.keys() - {"mini-vit", "mini-ofa"}))
def test_embedded_backbones_know_their_own_pictures(name):
    own = backbones.load(name).provenance["reconstruction"]
    assert reconstruction.verdict(own) == ("shapes" if name == "mini64" else "details")
    assert own["images"] == 3 * 178
    assert own["command"] == f"python benchmarks/reconstruction.py {name} --write"


@pytest.mark.slow
def test_what_is_stored_is_what_the_command_measures(capsys, tmp_path, monkeypatch):
    """Pixels differ a little with the release of Pillow and of fonts."""
    own = backbones.load("mini").provenance["reconstruction"]
    found = benchmark.measure("mini")
    assert found["psnr"] == pytest.approx(own["psnr"], abs=0.2)
    assert found["feature_distance"] == pytest.approx(own["feature_distance"], abs=0.01)


@pytest.mark.parametrize("name", ["mini", "mini64"])  # without and with a digest in config.json
def test_the_command_writes_what_it_prints(name, capsys, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    for file in EMBEDDED[name].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    before = json.loads((folder / "config.json").read_text())
    monkeypatch.setattr(benchmark, "measure", lambda name: {"psnr": 12.5, "of": name})
    benchmark.main([str(folder), "--write"])
    printed = json.loads(capsys.readouterr().out)
    after = json.loads((folder / "config.json").read_text())
    assert printed == after["provenance"].pop("reconstruction") == {"psnr": 12.5, "of": str(folder)}
    del before["provenance"]["reconstruction"]
    assert after.pop("sha256", None) != (digest := before.pop("sha256", None)) or not digest
    assert after == before
    assert backbones.load(str(folder)).fingerprint(("tokenizer",)) == backbones.load(
        name
    ).fingerprint(("tokenizer",))

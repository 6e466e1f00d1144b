"""Random views of images for pretraining: cut out, moved, mirrored, laid on a ground.

Transparent images (icons, clip art) are laid on another ground in every view, so that a network
learns the things and not the ground that they happened to be drawn on.
"""

import colorsys
import concurrent.futures
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from maskgit_prompt.data.batches import STREAM_MAKE_VIEW, generator
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError

WHITE = np.full(3, 255, np.uint8)
_CHUNK = 16  # images a thread takes at a time


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """How a view is made of an image; the plain view is the whole image, on white.

    Attributes:
      size: S, the side of a view in pixels.
      zoom: (least, most): side of the square that is cut out, as a share of the image's side. It is
        drawn evenly on a logarithmic scale. More than 1 shows ground around a transparent image;
        of an opaque one the square is never larger than the image.
      grounds: shares of transparent images that are laid on white, on black, on one colour and on a
        photograph; they sum to 1.

    Raises:
      UsageError: zoom that is not 0 < least <= most, or shares that do not sum to 1.
    """

    size: int
    zoom: tuple[float, float] = (1.0, 1.0)
    grounds: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self):
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1]:
            raise UsageError(f"zoom {self.zoom}: expected (least, most), 0 < least <= most")
        if len(self.grounds) != 4 or min(self.grounds) < 0 or abs(sum(self.grounds) - 1) > 1e-6:
            raise UsageError(
                f"grounds {self.grounds}: expected shares of white, black, one colour and "
                "photographs that sum to 1"
            )

    @property
    def source_size(self) -> int:
        """Pixels a side that images are read with, so that the smallest square is not enlarged."""
        return max(self.size, round(self.size / min(1.0, self.zoom[0])))

    def plain(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [R, R, C] -> uint8 [S, S, 3]: the whole image, on white where transparent."""
        return _on(_cut(pixels, (0, 0, len(pixels)), self.size), WHITE)

    def __call__(
        self,
        pixels: np.ndarray,
        rng: np.random.Generator,
        flip: bool,
        photograph: Callable[[np.random.Generator], np.ndarray] | None = None,
    ) -> np.ndarray:
        """A view: uint8 [R, R, C] -> uint8 [S, S, 3]; a pure function of its arguments.

        Args:
          flip: mirror it half of the time.
          photograph: gives a ground, uint8 [S, S, 3]; None: one colour in place of photographs.
        """
        zoom, across, down, mirror, kind = rng.random(5).tolist()
        least, most = map(math.log, self.zoom)
        side = math.exp(least + zoom * (most - least)) * len(pixels)
        transparent = pixels.shape[-1] == 4 and pixels[..., 3].min() < 255
        if not transparent:
            side = min(side, len(pixels))
        room = len(pixels) - side  # below 0 the image moves about in the square
        view = _cut(pixels, (across * room, down * room, side), self.size)
        if flip and mirror < 0.5:
            view = view[:, ::-1]
        if not transparent:
            return np.ascontiguousarray(view[..., :3])
        return _on(view, self._ground(kind, rng, photograph))

    def _ground(self, kind: float, rng: np.random.Generator, photograph) -> np.ndarray:
        white, black, _, _ = np.cumsum(self.grounds)
        if kind < white:
            return WHITE
        if kind < black:
            return np.zeros(3, np.uint8)
        if kind < 1 - self.grounds[3] or photograph is None:
            hue, saturation, value = rng.random(3).tolist()
            return np.round(np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255)
        return photograph(rng)


def _cut(pixels: np.ndarray, square: tuple[float, float, float], size: int) -> np.ndarray:
    """The square (left, top, side) of an image, resized to [size, size, C]; what lies outside of
    the image is transparent."""
    left, top, side = square
    if square == (0, 0, len(pixels)) and side == size:
        return pixels
    image = Image.fromarray(pixels)
    if side > len(pixels):
        border = math.ceil(side - len(pixels))
        padded = Image.new(image.mode, (len(pixels) + 2 * border,) * 2)
        padded.paste(image, (border, border))
        image, left, top = padded, left + border, top + border
    box = (left, top, left + side, top + side)
    # Pillow resizes colours weighted by their alpha.
    resample = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), resample, box=box))


def _on(view: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Lays [S, S, C] on a ground [3] or [S, S, 3]."""
    if view.shape[-1] == 3:
        return view
    alpha = view[..., 3:].astype(np.float32) / 255
    mixed = alpha * view[..., :3] + (1 - alpha) * ground
    return (mixed + 0.5).astype(np.uint8)


class ViewMaker:
    """Views of a set's images, by image and number.

    View 0 of an image is its plain one, all others are random: pure functions of (seed, image,
    number), made by all cores.

    Args:
      images: of side config.source_size.
      flips: [n] bool: which images may be mirrored.
      photographs: rows of opaque images that serve as grounds; none: there are no such grounds.

    Attributes:
      images: as given. size: S, of the views.
    """

    def __init__(
        self,
        images: ImageSet,
        config: ViewConfig,
        flips: np.ndarray,
        photographs: np.ndarray,
        seed: int,
    ):
        self.images, self.size = images, config.size
        self._config, self._seed = config, seed
        self._flips, self._photographs = flips, photographs
        self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "views")

    def __call__(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Views `numbers` [k] of the images `rows` [k]: uint8 [k, S, S, 3]."""
        pixels = self.images.read(rows)
        views = np.empty((len(rows), self.size, self.size, 3), np.uint8)

        def fill(start: int) -> None:
            for place in range(start, min(start + _CHUNK, len(rows))):
                views[place] = self._one(pixels[place], int(rows[place]), int(numbers[place]))

        list(self._pool.map(fill, range(0, len(rows), _CHUNK)))  # raises what a thread raised
        return views

    def _one(self, pixels: np.ndarray, row: int, number: int) -> np.ndarray:
        if number == 0:
            return self._config.plain(pixels)
        rng = generator(self._seed, (STREAM_MAKE_VIEW, row, number))
        photograph = self._photograph if len(self._photographs) else None
        return self._config(pixels, rng, bool(self._flips[row]), photograph)

    def _photograph(self, rng: np.random.Generator) -> np.ndarray:
        row = self._photographs[int(rng.integers(len(self._photographs)))]
        image = self.images.read(np.array([row]))[0]
        whole = dataclasses.replace(self._config, zoom=(0.5, 1.0))
        return whole(image[..., :3], rng, flip=True)

    def stored(self, rows: np.ndarray, count: int) -> ImageSet:
        """Views 0..count-1 of some images as a set of their own: view v of the image rows[i] is
        image i · count + v. For what is encoded once."""
        rows = np.asarray(rows, np.int64)
        recipe = [self.images.fingerprint, repr(self._config), self._seed, count]
        found = hashlib.sha256(repr(recipe).encode())
        for part in (rows, self._flips, np.asarray(self._photographs, np.int64)):
            found.update(part.tobytes() + b"|")
        ids = [self.images.ids[row] for row in rows]

        def read(indices: np.ndarray) -> np.ndarray:
            place, number = np.divmod(np.asarray(indices), count)
            return self(rows[place], number)

        return ImageSet(
            name=self.images.name,
            classes=self.images.classes,
            labels=np.repeat(self.images.labels[rows], count),
            ids=[name for name in ids for _ in range(count)],
            fingerprint=found.hexdigest(),
            read=read,
        )

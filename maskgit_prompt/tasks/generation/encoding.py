"""The codes of a set's images: found by their key, or made once by all hosts."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from maskgit_prompt.backbones import Part
from maskgit_prompt.backbones.compiled import make_encoder
from maskgit_prompt.data import augment, codes_writer
from maskgit_prompt.data.augment import PLAIN, Views
from maskgit_prompt.data.codes import Codes, CodesFile
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.tasks.generation.plan import Plan, codes_folder


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The codes of some images of a set, in one codes file or several.

    Attributes:
      files: (rows of the images in the set, increasing; their codes, in that order).
    """

    files: tuple[tuple[np.ndarray, CodesFile], ...]

    def of(self, rows: np.ndarray) -> Codes:
        """Codes [k, views, L] of images by their rows in the set, all of them in one of the files;
        nothing is read yet."""
        for have, file in self.files:
            place = np.searchsorted(have, rows).clip(max=len(have) - 1)
            if np.array_equal(have[place], rows):
                return file.codes.take(place)
        raise ValueError(f"{len(rows)} images are not all in one codes file")

    def plain(self, rows: np.ndarray) -> np.ndarray:
        """Codes [k, L] of images as they are, in memory."""
        return self.of(rows)[:, 0].astype(np.int32)

    def __len__(self) -> int:
        return sum(len(rows) for rows, _ in self.files)

    @property
    def images_per_second(self) -> float | None:
        """How fast the largest file was made; None where it was there already."""
        _, file = max(self.files, key=lambda found: len(found[0]))
        return file.images_per_second


def encode_once(
    images: ImageSet,
    wanted: Sequence[tuple[np.ndarray, Views]],
    part: Part,
    directory: pathlib.Path,
    dtype: str = "float32",
) -> Encoded:
    """Codes of some images of a set: found by their key, or made by all hosts.

    Each host encodes on its own devices: nothing waits for another host but at the end.

    Args:
      wanted: rows of images, and what is stored of each; what has any rows gets a codes file
        of its own, so that runs which have one of them in common share it.
    """
    encode, batch_size = make_encoder(part, sharding.local_mesh(), dtype)
    key = {"tokenizer": part.sha256, "size": part.cfg.image_size, "dtype": dtype}
    made = codes_writer.Encoding(encode, batch_size, key)
    host = codes_writer.Host(*distributed.index_and_count(), distributed.barrier)
    files = []
    for rows, views in wanted:
        rows = np.unique(rows)
        if not len(rows):
            continue
        chosen = images if len(rows) == len(images) else images.subset(rows)
        file = codes_writer.build(directory, chosen, made, views, host=host)
        files.append((rows, file))
    return Encoded(tuple(files))


def encode(plan: Plan, home: pathlib.Path) -> Encoded:
    """The codes of what is tuned on, in as many views as the config asks for, and of what is held
    out."""
    config = plan.config
    view_fn = augment.random_crop_flip(config.data.crop, config.data.flip)
    views = Views(config.data.views, view_fn, config.data.seed)
    return encode_once(
        plan.data.images,
        ((plan.data.tune, views), (plan.data.test, PLAIN)),
        plan.backbone.part("tokenizer"),
        codes_folder(config, home),
        config.dtype,
    )

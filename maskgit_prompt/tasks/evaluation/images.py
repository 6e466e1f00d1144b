"""Images of a folder or an archive, all of one size, in batches."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image

from maskgit_prompt.counts import counted
from maskgit_prompt.data.pixels import MAX_PIXELS, Place, Preprocessing
from maskgit_prompt.data.sets import pictures
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import progress

_BATCH = 64


class AsItIs(Preprocessing):
    """Leaves an image its width and height, and decodes JPEG files at full size."""

    def __init__(self):
        super().__init__(MAX_PIXELS)

    def square(self, image: Image.Image, place: Place = (0.5, 0.5)) -> Image.Image:
        return image


@dataclasses.dataclass
class Pictures:
    """Images at a path.

    Attributes:
      path: of a folder with all its folders, an archive, or a list of files.
      key: the setting that named it, for messages.
      preprocessing: how they become pixels.
      names: of the files.
      size: (height, width), once they are read.
      broken: file -> why it is left out, of those read so far.
    """

    path: str
    key: str
    preprocessing: Preprocessing
    names: list[str]
    read: pictures.Read
    size: tuple[int, int] = (0, 0)
    broken: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def find(cls, path: str, key: str, side: int, fit: str) -> "Pictures":
        """Looks for images, which it does not read yet.

        Args:
          side: that they are brought to by `fit`, see Preprocessing; 0: they stay as they are.

        Raises:
          UsageError: nothing at the path, or no picture. UserError: one picture alone.
        """
        names, read = pictures.find(path)
        if len(names) < 2:
            raise UserError(
                f"{key} = {path!r} holds {counted(len(names), 'image')}, expected at least 2 to "
                "compare sets of them; give a folder of more"
            )
        return cls(path, key, Preprocessing(side, fit) if side else AsItIs(), names, read)

    def batches(self) -> Iterator[np.ndarray]:
        """uint8 images [k, H, W, 3].

        Raises:
          UserError: an image of another size than the first, or fewer than two that can be read.
        """
        first = ""
        with progress(len(self.names), self.key.rpartition(".")[2], "image", delay=5.0) as bar:
            found = pictures.examined(self.names, self.read, self.preprocessing, _BATCH)
            for whole, broken in found:
                self.broken |= broken
                for name, seen in whole.items():
                    size = seen.pixels.shape[:2]
                    first, self.size = first or name, self.size if first else size
                    if size != self.size:
                        raise UserError(
                            f"{self.key} = {self.path!r}: {name} has {_shown(size)} pixels and "
                            f"{first} {_shown(self.size)}, expected one size; set config.size=256 "
                            "to crop and resize all of them"
                        )
                if whole:
                    yield np.stack([seen.pixels for seen in whole.values()])
                bar.update(len(whole) + len(broken))
        pictures.check_broken(self.broken, len(self.names))
        if len(self.names) - len(self.broken) < 2:
            raise UserError(
                f"{self.key} = {self.path!r}: one image alone can be read, expected at least 2; "
                "give a folder of more"
            )

    def to_json(self) -> dict:
        return {
            "path": self.path,
            "images": len(self.names) - len(self.broken),
            "size": list(self.size),
            "broken": self.broken,
        }


def _shown(size: tuple[int, int]) -> str:
    """Width x height."""
    return f"{size[1]} x {size[0]}"

"""What was found where images were looked for, as a run prints it before it tunes."""

import collections
import dataclasses
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.data.formats import NOTES
from maskgit_prompt.data.names import legible

_NAMED = 3  # files of a kind, in a line
_CLASSES = 12  # all of them are listed, of more the first _FEW
_FEW = 6


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Files or folders of one kind that are not used.

    Attributes:
      what: "ending in .txt", "copies of others of the class".
      count: how many. first: some of them by name.
    """

    what: str
    count: int
    first: tuple[str, ...]

    def line(self) -> str:
        more = ", ..." * (self.count > len(self.first))
        return f"{self.what}: {self.count:,} ({', '.join(self.first)}{more})"


@dataclasses.dataclass(frozen=True)
class Found:
    """What a source of images found.

    Attributes:
      where: the folder, archive or data set.
      left_out: what lies there and is not used.
      sizes: (width, height) of the smallest, the median and the largest image, by pixels.
      enlarged: images whose shorter side has fewer pixels than the model's.
      side: pixels of the model's images along a side.
      notes: what else a user should know, a sentence each.
    """

    where: str
    left_out: tuple[LeftOut, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    enlarged: int = 0
    side: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """All but the classes, a line for each thing."""
        lines = []
        if self.sizes:
            smallest, median, largest = (f"{w:,} x {h:,}" for w, h in self.sizes)
            if smallest == largest:
                text = f"{smallest} pixels, all alike"
            else:
                text = f"{smallest} pixels at least, {median} the median, {largest} at most"
            if self.enlarged:
                text += f"; {self.enlarged:,} below {self.side} x {self.side}, enlarged"
            lines.append(f"sizes: {text}")
        if self.left_out:
            lines.append("left out: " + "; ".join(kind.line() for kind in self.left_out))
        return lines + [f"note: {note}" for note in self.notes]

    def to_json(self) -> bytes:
        """found.json of a workdir."""
        return (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode()


def by_ending(left_out: Mapping[str, str]) -> list[LeftOut]:
    """Kinds of files and folders: {"a/x.txt": "", "a/.b.png": "hidden"} are of two.

    Args:
      left_out: name -> why; for those that are left out for their ending "".
    """
    kinds: dict[str, list[str]] = {}
    for name in sorted(left_out):
        why = left_out[name]
        if not why:
            ending = posixpath.splitext(name)[1].lower()
            why = f"ending in {legible(ending)}" if ending else "without an ending"
            why += f", {NOTES[ending]}" if ending in NOTES else ""
        kinds.setdefault(why, []).append(name)
    return [kind(why, names) for why, names in sorted(kinds.items())]


def kind(what: str, names: Sequence[str]) -> LeftOut:
    return LeftOut(what, len(names), tuple(map(legible, names[:_NAMED])))


def of_sizes(sizes: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The smallest, the median and the largest of sizes [n, 2], by pixels."""
    order = np.argsort(sizes.astype(np.int64).prod(axis=1), kind="stable")
    chosen = order[[0, (len(order) - 1) // 2, -1]]
    return tuple((int(w), int(h)) for w, h in sizes[chosen])


def of_classes(classes: Sequence[str], labels: Iterable[int]) -> str:
    """Classes and their counts: "2 classes: cat 12, dog 9"; of very many some and the extremes."""
    counts = collections.Counter(np.asarray(labels).tolist())
    shown = [f"{name} {counts[c]:,}" for c, name in enumerate(classes)]
    number = counted(len(classes), "class")
    if len(classes) <= _CLASSES:
        return f"{number}: {', '.join(shown)}"
    each = sorted(counts[c] for c in range(len(classes)))
    spread = f"{each[0]:,} to " * (each[0] != each[-1]) + counted(each[-1], "image")
    return f"{number} of {spread}: {', '.join(shown[:_FEW])}, ..."

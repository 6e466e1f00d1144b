"""VTAB: 19 tasks on 16 data sets of TFDS, with the labels and splits of task_adaptation.

Source: X. Zhai et al., "A Large-scale Study of Representation Learning with the Visual Task
Adaptation Benchmark", arXiv 1910.04867, and its code, google-research/task_adaptation; the split
"all" is that of google-research/generative_transfer.
"""

import bisect
import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from maskgit_prompt.counts import counted
from maskgit_prompt.data.sets import builders, prepared
from maskgit_prompt.errors import UsageError, UserError

GROUPS = ("natural", "specialized", "structured")
SPLITS = ("train", "val", "trainval", "test", "train800", "val200", "train800val200", "all")

# A class is the index of the last of these that lies strictly below the distance.
KITTI_METRES = (-100.0, 8.0, 20.0, 999.0)
CLEVR_DISTANCES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
KITTI_VEHICLES = (0, 1, 2)  # Car, Van, Truck
NO_VEHICLE = 1000.0


def above(thresholds: tuple[float, ...], distance: float) -> int:
    """The index of the last threshold strictly below a distance; -1 where none is.

    Of (0, 8, 8.5), 8 has index 0, 8.1 index 1, 8.5 index 1 and 8.6 index 2.
    """
    return bisect.bisect_left(thresholds, distance) - 1


def kitti_vehicle(example: dict[str, Any]) -> int:
    """0: the nearest vehicle is at most 8 m away; 1: 20 m; 2: farther; 3: there is none."""
    objects = example["objects"]
    ahead = [
        float(location[2])
        for kind, location in zip(objects["type"], objects["location"], strict=True)
        if kind in KITTI_VEHICLES
    ]
    return above(KITTI_METRES, min([*ahead, NO_VEHICLE]))


def clevr_distance(example: dict[str, Any]) -> int:
    """The nearest object's third pixel coordinate, binned at 8, 8.5, 9, 9.5 and 10."""
    nearest = min(float(place[2]) for place in example["objects"]["pixel_coords"])
    return above(CLEVR_DISTANCES, nearest)


def clevr_count(example: dict[str, Any]) -> int:
    """3 to 10 objects are classes 0 to 7."""
    return len(example["objects"]["size"]) - 3


def dsprites_x(example: dict[str, Any]) -> int:
    """32 places, two per class."""
    return int(example["label_x_position"]) * 16 // 32


def dsprites_orientation(example: dict[str, Any]) -> int:
    """40 turns of 9 degrees in 16 classes: 3, 2, 3, 2, … turns each."""
    return int(example["label_orientation"]) * 16 // 40


def stored(feature: str) -> Callable[[dict[str, Any]], int]:
    """The label as it is stored."""
    return lambda example: int(example[feature])


def cut(percent: int) -> Callable[[Mapping[str, int]], dict[str, str]]:
    """TFDS's train cut after `percent` %, rounded down; its test."""

    def splits(counts: Mapping[str, int]) -> dict[str, str]:
        end = counts["train"] * percent // 100
        return {
            "train": f"train[:{end}]",
            "val": f"train[{end}:]",
            "trainval": "train",
            "test": "test",
        }

    return splits


def cut_in_three(train: int, val: int) -> Callable[[Mapping[str, int]], dict[str, str]]:
    """TFDS's one split cut in order: `train` %, `val` %, the rest."""

    def splits(counts: Mapping[str, int]) -> dict[str, str]:
        first = counts["train"] * train // 100
        second = first + counts["train"] * val // 100
        return {
            "train": f"train[:{first}]",
            "val": f"train[{first}:{second}]",
            "trainval": f"train[:{second}]",
            "test": f"train[{second}:]",
        }

    return splits


def own(counts: Mapping[str, int]) -> dict[str, str]:
    """The builder's own splits."""
    return {
        "train": "train",
        "val": "validation",
        "trainval": "train+validation",
        "test": "test",
    }


def clevr_splits(counts: Mapping[str, int]) -> dict[str, str]:
    """TFDS's test has no labels; its validation is VTAB's test."""
    return cut(90)(counts) | {"test": "validation"}


def smallnorb_splits(counts: Mapping[str, int]) -> dict[str, str]:
    """TFDS's test cut in two halves."""
    return {
        "train": "train",
        "val": "test[:50%]",
        "trainval": "train+test[:50%]",
        "test": "test[50%:]",
    }


@dataclasses.dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
      name: as in VTAB's papers.
      group: of GROUPS.
      dataset: of TFDS. versions: that are read, the first that is prepared.
      classes: how many. names: of them, where the builder does not know any.
      splits: counts of TFDS's splits -> VTAB's train, val, trainval and test as TFDS slices.
      rule: example -> class. features: of the example that the rule needs.
      gain: what pixels are multiplied by.
      needs_opencv: to be prepared; this package does not bring it.
      by_hand: what a person has to put where; empty: TFDS downloads all.
    """

    name: str
    group: str
    dataset: str
    versions: tuple[str, ...]
    classes: int
    splits: Callable[[Mapping[str, int]], dict[str, str]]
    rule: Callable[[dict[str, Any]], int] = stored("label")
    features: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"label": True})
    names: tuple[str, ...] = ()
    gain: int = 1
    needs_opencv: bool = False
    by_hand: str = ""

    def slices(self, split: str, counts: Mapping[str, int]) -> str:
        """A split of SPLITS as a TFDS slice.

        With 50,000 training images, a cut at 90 % and train800val200:
        "train[:800]+train[45000:45200]".

        Raises:
          UsageError: an unknown split. UserError: fewer images than train800 or val200 asks for.
        """
        parts = self.splits(counts)
        if split in parts:
            return parts[split]
        if split == "all":
            return f"{parts['trainval']}+{parts['test']}"
        if split == "train800":
            return self._first(parts["train"], 800, counts)
        if split == "val200":
            return self._first(parts["val"], 200, counts)
        if split == "train800val200":
            return f"{self.slices('train800', counts)}+{self.slices('val200', counts)}"
        raise UsageError(f"split {split!r}, expected {', '.join(SPLITS)}")

    def _first(self, text: str, number: int, counts: Mapping[str, int]) -> str:
        """The first examples of one slice: of "train[45000:]" 200 are "train[45000:45200]"."""
        name, _, inside = text.rstrip("]").partition("[")
        begin, _, end = inside.partition(":")
        begin = int(begin or 0)
        end = counts[name] * 50 // 100 if end == "50%" else int(end or counts[name])
        if begin + number > end:
            raise UserError(
                f"{self.name}: {text} has {counted(end - begin, 'image')}, expected at "
                f"least {number}; choose another --config.data.split"
            )
        return f"{name}[{begin or ''}:{begin + number}]"


_OBJECTS = lambda *names: {"objects": set(names)}
_NORB = dict(dataset="smallnorb", versions=("2.*.*", "2.1.0"), splits=smallnorb_splits)
_DSPRITES = dict(
    dataset="dsprites",
    versions=("2.*.*", "2.1.0"),
    splits=cut_in_three(80, 10),
    gain=255,  # stored as 0 and 1
)
_CLEVR = dict(dataset="clevr", versions=("3.*.*", "3.0.0"), splits=clevr_splits)

TASKS = (
    Task("caltech101", "natural", "caltech101", ("3.*.*",), 102, cut(90)),
    Task("cifar100", "natural", "cifar100", ("3.*.*",), 100, cut(90)),
    Task(
        "sun397",
        "natural",
        "sun397/tfds",
        ("4.*.*",),
        397,
        own,
        needs_opencv=True,
    ),
    Task("svhn", "natural", "svhn_cropped", ("3.*.*",), 10, cut(90), names=tuple("0123456789")),
    Task("oxford_flowers102", "natural", "oxford_flowers102", ("2.*.*",), 102, own),
    # 3 is what the reference pins; this TFDS can only make 4, which has the same counts.
    Task("oxford_iiit_pet", "natural", "oxford_iiit_pet", ("4.*.*", "3.*.*"), 37, cut(80)),
    Task("dtd", "natural", "dtd", ("3.*.*",), 47, own),
    Task("eurosat", "specialized", "eurosat/rgb", ("2.*.*",), 10, cut_in_three(60, 20)),
    Task(
        "resisc45",
        "specialized",
        "resisc45",
        ("3.*.*",),
        45,
        cut_in_three(60, 20),
        by_hand="NWPU-RESISC45/CLASS/*.jpg, unpacked from NWPU-RESISC45.rar",
    ),
    Task(
        "patch_camelyon",
        "specialized",
        "patch_camelyon",
        ("2.*.*",),
        2,
        own,
        names=("no tumour", "tumour"),
    ),
    Task(
        "diabetic_retinopathy",
        "specialized",
        "diabetic_retinopathy_detection/btgraham-300",
        ("3.*.*",),
        5,
        own,
        names=("none", "mild", "moderate", "severe", "proliferative"),
        needs_opencv=True,
        by_hand="trainLabels.csv, train/*.jpeg, test/*.jpeg and sample/*.jpeg of Kaggle's "
        "diabetic-retinopathy-detection",
    ),
    Task(
        "kitti_closest_vehicle_distance",
        "structured",
        "kitti",
        ("3.1.0", "3.2.0", "3.3.0"),
        4,
        own,
        kitti_vehicle,
        _OBJECTS("type", "location"),
        names=("to 8 m", "8 to 20 m", "beyond 20 m", "no vehicle"),
        needs_opencv=True,
    ),
    Task(
        "smallnorb_azimuth",
        "structured",
        rule=stored("label_azimuth"),
        features={"label_azimuth": True},
        classes=18,
        names=tuple(f"{angle}°" for angle in range(0, 360, 20)),
        **_NORB,
    ),
    Task(
        "smallnorb_elevation",
        "structured",
        rule=stored("label_elevation"),
        features={"label_elevation": True},
        classes=9,
        names=tuple(f"{angle}°" for angle in range(30, 75, 5)),
        **_NORB,
    ),
    Task(
        "dsprites_x_position",
        "structured",
        rule=dsprites_x,
        features={"label_x_position": True},
        classes=16,
        names=tuple(f"x {2 * i}, {2 * i + 1} of 32" for i in range(16)),
        **_DSPRITES,
    ),
    Task(
        "dsprites_orientation",
        "structured",
        rule=dsprites_orientation,
        features={"label_orientation": True},
        classes=16,
        names=tuple(f"from {22.5 * i:g}°" for i in range(16)),
        **_DSPRITES,
    ),
    Task(
        "clevr_closest_object_distance",
        "structured",
        rule=clevr_distance,
        features=_OBJECTS("pixel_coords"),
        classes=6,
        names=("to 8", "8 to 8.5", "8.5 to 9", "9 to 9.5", "9.5 to 10", "beyond 10"),
        **_CLEVR,
    ),
    Task(
        "clevr_count_all",
        "structured",
        rule=clevr_count,
        features=_OBJECTS("size"),
        classes=8,
        names=tuple(f"{number} objects" for number in range(3, 11)),
        **_CLEVR,
    ),
    Task("dmlab", "structured", "dmlab", ("2.0.1",), 6, own),
)
BY_NAME = {task.name: task for task in TASKS}


def chosen(names: tuple[str, ...] | list[str]) -> list[Task]:
    """Tasks by name or group, in VTAB's order; of no names, all 19.

    Raises:
      UsageError: a name that is neither.
    """
    for name in names:
        if name not in BY_NAME and name not in GROUPS:
            raise UsageError(
                f"no VTAB task {name!r}; expected a group ({', '.join(GROUPS)}) or some of "
                f"{', '.join(BY_NAME)}"
            )
    wanted = set(names) or set(GROUPS)
    return [task for task in TASKS if task.name in wanted or task.group in wanted]


def open_task(task: Task, data_dir: str):
    """The task's builder, prepared or not."""
    return builders.open_builder(task.dataset, task.versions, data_dir)


def labels(task: Task, builder) -> prepared.Labels:
    """The task's labels; class names of the builder where it knows them, else of the task."""
    names = task.names
    if not names:
        found = tuple(builder.info.features["label"].names or ())
        names = found if len(found) == task.classes else tuple(map(str, range(task.classes)))
    return prepared.Labels(task.name, task.features, task.rule, names)


def beside(task: Task, builder) -> list[prepared.Labels]:
    """Labels of the other tasks on the task's data set."""
    others = [other for other in TASKS if other.dataset == task.dataset and other is not task]
    return [labels(other, builder) for other in others]


def how_to_prepare(task: Task, data_dir: str) -> str:
    """One line: the command that prepares a task's data, and what a person must do before."""
    before = []
    if task.by_hand:
        folder = builders.manual_dir(data_dir)
        before.append(f"put {task.by_hand}, into {folder}")
    if task.needs_opencv and importlib.util.find_spec("cv2") is None:
        before.append("pip install opencv-python-headless")
    command = builders.how_to_prepare(f"{task.dataset}:{task.versions[0]}", data_dir)
    return ", then ".join([*before, command])

"""Small data sets in the format of each of VTAB's builders, written by TFDS itself."""

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

# Without its warnings; TensorFlow, which the writer needs, would print them while it starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Example = dict[str, Any]
PER_SHARD = 7  # so that every split has several files, the last one shorter


def write(
    folder: pathlib.Path,
    dataset: str,
    splits: dict[str, Iterable[Example]],
    per_shard: int = PER_SHARD,
    file_format: str = "tfrecord",
) -> None:
    """Prepares a data set from examples.

    dataset: name, configuration and version as of tfds.builder: "eurosat/rgb:2.*.*".
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(dataset, data_dir=folder, file_format=file_format)
    pathlib.Path(builder.data_dir).mkdir(parents=True)
    writer = tfds.core.SequentialWriter(
        builder.info, max_examples_per_shard=per_shard, file_format=file_format
    )
    writer.initialize_splits(list(splits))
    writer.add_examples({name: list(examples) for name, examples in splits.items()})
    writer.close_all()


def picture(number: int, height: int, width: int, channels: int = 3, top: int = 255) -> np.ndarray:
    """Flat red, the image's number modulo 256; green rising to the right; noise of its own in blue.

    One channel: the noise alone.
    """
    pixels = np.zeros([height, width, 3], np.uint8)
    pixels[..., 0] = number % 256
    pixels[..., 1] = np.linspace(0, 255, width)
    pixels[..., 2] = np.random.default_rng(number).integers(0, 256, [height, width])
    if top == 1:
        pixels = pixels // 128
    return pixels[..., :3] if channels == 3 else pixels[..., 2:]


def labelled(classes: int, height: int, width: int, **more: Any) -> Callable[[int], Example]:
    return lambda i: {"image": picture(i, height, width), "label": i % classes, **more}


def clevr(i: int) -> Example:
    """3 + i % 8 objects, the nearest at 7.75 + 0.5 * (i % 6)."""
    one = {
        "3d_coords": np.zeros(3, np.float32),
        "color": 0,
        "material": 0,
        "rotation": 0.0,
        "shape": 0,
        "size": 0,
    }
    far = [one | {"pixel_coords": np.array([1, 2, 11 + k], np.float32)} for k in range(2 + i % 8)]
    near = one | {"pixel_coords": np.array([1, 2, 7.75 + 0.5 * (i % 6)], np.float32)}
    asked = {"question": "how many?", "answer": "three"}
    return {
        "file_name": f"{i}.png",
        "image": picture(i, 32, 48),
        "objects": [*far, near],
        "question_answer": [asked] * 3,
    }


def kitti(i: int) -> Example:
    """A car 5, 15 or 30 m away beside a nearer cyclist, or (every fourth) the cyclist alone."""
    import tensorflow_datasets as tfds

    def thing(kind: int, z: float) -> Example:
        return {
            "alpha": 0.0,
            "bbox": tfds.features.BBox(0.1, 0.1, 0.5, 0.5),
            "dimensions": np.ones(3, np.float32),
            "location": np.array([1, 1, z], np.float32),
            "occluded": 0,
            "rotation_y": 0.0,
            "truncated": 0.0,
            "type": kind,
        }

    cars = [thing(i % 3, (5.0, 15.0, 30.0)[i % 4])] if i % 4 < 3 else []
    return {
        "image": picture(i, 24, 60),
        "image/file_name": f"{i}.png",
        "objects": [thing(5, 2.0), *cars],
    }


def smallnorb(i: int) -> Example:
    return {
        "image": picture(i, 96, 96, 1),
        "image2": picture(i + 1, 96, 96, 1),
        "instance": 0,
        "label_category": i % 5,
        "label_elevation": i % 9,
        "label_azimuth": i % 18,
        "label_lighting": 0,
    }


def dsprites(i: int) -> Example:
    return {
        "image": picture(i, 64, 64, 1, top=1),
        "label_shape": i % 3,
        "label_scale": i % 6,
        "label_orientation": i % 40,
        "label_x_position": i % 32,
        "label_y_position": i % 32,
        "value_shape": 0.0,
        "value_scale": 0.5,
        "value_orientation": 0.0,
        "value_x_position": 0.0,
        "value_y_position": 0.0,
    }


def pet(i: int) -> Example:
    import tensorflow_datasets as tfds

    return {
        "image": picture(i, 40, 30),
        "label": i % 37,
        "species": i % 2,
        "file_name": f"{i}.jpg",
        "segmentation_mask": np.ones([40, 30, 1], np.uint8),
        "head_bbox": tfds.features.BBox(0.1, 0.1, 0.5, 0.5),
    }


# Data set -> (its splits, example).
BUILDERS: dict[str, tuple[tuple[str, ...], Callable[[int], Example]]] = {
    "caltech101:3.*.*": (
        ("train", "test"),
        labelled(102, 30, 40, **{"image/file_name": "a.jpg"}),
    ),
    "cifar100:3.*.*": (("train", "test"), labelled(100, 32, 32, id="a", coarse_label=0)),
    "sun397/tfds:4.*.*": (("train", "validation", "test"), labelled(397, 30, 40, file_name="a")),
    "svhn_cropped:3.*.*": (("train", "test", "extra"), labelled(10, 32, 32, id="a")),
    "oxford_flowers102:2.*.*": (
        ("train", "validation", "test"),
        labelled(102, 40, 30, file_name="a"),
    ),
    "oxford_iiit_pet:4.*.*": (("train", "test"), pet),
    "dtd:3.*.*": (("train", "validation", "test"), labelled(47, 40, 40, file_name="a")),
    "eurosat/rgb:2.*.*": (("train",), labelled(10, 64, 64, filename="a")),
    "resisc45:3.*.*": (("train",), labelled(45, 256, 256, filename="a")),
    "patch_camelyon:2.*.*": (("train", "validation", "test"), labelled(2, 96, 96, id="a")),
    "diabetic_retinopathy_detection/btgraham-300:3.*.*": (
        ("train", "validation", "test", "sample"),
        labelled(5, 50, 50, name="a"),
    ),
    "kitti:3.1.0": (("train", "validation", "test"), kitti),
    "smallnorb:2.*.*": (("train", "test"), smallnorb),
    "dsprites:2.*.*": (("train",), dsprites),
    "clevr:3.*.*": (("train", "validation", "test"), clevr),
    "dmlab:2.0.1": (("train", "validation", "test"), labelled(6, 360, 480, filename="a")),
}


def write_all(
    folder: pathlib.Path, count: int = 24, names: Iterable[str] = tuple(BUILDERS)
) -> None:
    """Examples of each split of the data sets, as many as asked; no two have equal images."""
    for name in names:
        splits, example = BUILDERS[name]
        write(
            folder,
            name,
            {
                split: [example(i + count * k) for i in range(count)]
                for k, split in enumerate(splits)
            },
        )

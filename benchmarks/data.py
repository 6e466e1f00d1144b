"""What reading images costs: images per second from files to the encoder, and through it.

    python benchmarks/data.py --out=data.json
    python benchmarks/data.py --small            # a few seconds, to see that it runs

The package draws images of 64 x 64 pixels. They are PNG files in a folder, the same files in a zip
and a tar archive, and records of a prepared TFDS data set (eurosat/rgb). For the backbone `mini`
they are read, checked, decoded and resized to 32 x 32. Each place has a process of its own:

    scan     the first look at all files: read, decode, digest
    rescan   the same, with what the first look kept
    feed     decoding for the encoder, in batches of 32, without an encoder
    encoder  the encoder alone, from memory
    encode   both, as in a run: codes in a file

`feed` must be above 1,500 images per second on two cores. `kept` is encode / min(feed, encoder). It
is 1 if reading costs the encoder nothing. On a CPU both need the same cores, so it is lower.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from benchmarks import measuring  # noqa: E402

PLACES = ("folder", "zip", "tar", "tfds")
BAR = 1500.0  # images per second that `feed` must exceed on two cores
SIZE, STORED = 32, 64  # pixels of mini and of the files


def write(folder: pathlib.Path, count: int) -> None:
    """The images in all PLACES."""
    import tarfile

    import numpy as np
    from PIL import Image

    from maskgit_prompt.data.sets import synthetic

    images = synthetic.image_set(count, 0, STORED)
    for start in range(0, count, 1000):
        rows = np.arange(start, min(start + 1000, count))
        for row, pixels in zip(rows, images.read(rows), strict=True):
            place = folder / "folder" / str(row % 10)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{row:06d}.png")
    files = sorted((folder / "folder").rglob("*.png"))
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(folder / "folder"))
    with tarfile.open(folder / "tar", "w") as archive:
        for file in files:
            archive.add(file, file.relative_to(folder / "folder"))
    write_tfds(folder / "tfds", images, count)


def write_tfds(folder: pathlib.Path, images, count: int) -> None:
    import numpy as np
    import tensorflow_datasets as tfds

    builder = tfds.builder("eurosat/rgb:2.*.*", data_dir=folder)
    pathlib.Path(builder.data_dir).mkdir(parents=True)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=max(1, count // 8))
    writer.initialize_splits(["train"])
    for start in range(0, count, 1000):
        rows = np.arange(start, min(start + 1000, count))
        pixels = images.read(rows)
        writer.add_examples(
            {
                "train": [
                    {"image": p, "label": int(row) % 10, "filename": str(row)}
                    for row, p in zip(rows, pixels, strict=True)
                ]
            }
        )
    writer.close_all()


def measure(place: str, folder: pathlib.Path) -> dict[str, float]:
    """Images per second of every stage."""
    import numpy as np

    from maskgit_prompt import backbones
    from maskgit_prompt.backbones import compiled
    from maskgit_prompt.config import defaults
    from maskgit_prompt.data import codes_writer, loading
    from maskgit_prompt.data.augment import PLAIN
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.generation import encoding

    config = defaults.transfer().data
    config.shots = 0
    config.name, config.path = "folder", str(folder / place)
    if place == "tfds":
        config.name, config.dataset, config.data_dir = "tfds", "eurosat/rgb", str(folder / place)
        config.split, config.test = "train[:50%]", "train[50%:]"
    cache = folder / f"cache-{place}"
    found = {}

    def timed(stage: str, work: Callable, images: int):
        began = time.perf_counter()
        result = work()
        found[stage] = images / (time.perf_counter() - began)
        return result

    count = len(list((folder / "folder").rglob("*.png")))
    timed("scan", lambda: loading.load(config, SIZE, cache), count)
    images = timed("rescan", lambda: loading.load(config, SIZE, cache), count).images
    rows = np.arange(len(images))

    def feed() -> None:
        for _ in codes_writer.load_ahead(images, rows, compiled.ROWS):
            pass

    timed("feed", feed, count)
    mesh = sharding.local_mesh()
    part = backbones.load("mini").part("tokenizer")
    encoder, size = compiled.make_encoder(part, mesh)
    pixels = images.read(rows[:size])
    encoder(pixels)  # compiles
    batches = max(2, min(40, count // size))
    timed("encoder", lambda: [encoder(pixels) for _ in range(batches)], batches * size)
    stored = timed(
        "encode",
        lambda: encoding.encode_once(images, [(rows, PLAIN)], part, folder / f"codes-{place}"),
        count,
    )
    assert len(stored) == count
    found["kept"] = found["encode"] / min(found["feed"], found["encoder"])
    return found | {"peak_gib": measuring.peak_gib()}


def table(rows: dict[str, dict[str, float]], count: int) -> str:
    names = ("scan", "rescan", "feed", "encoder", "encode")
    lines = [f"{'images/s':<8}" + "".join(f"{n:>10}" for n in names) + "      kept  peak GiB"]
    for place, row in rows.items():
        numbers = "".join(f"{row[name]:>10,.0f}" for name in names)
        lines.append(f"{place:<8}{numbers}{row['kept']:>10.2f}{row['peak_gib']:>10.2f}")
    slowest = min(row["feed"] for row in rows.values())
    lines.append(f"{count:,} images; slowest feed / {BAR:,.0f} = {slowest / BAR:.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--small", action="store_true", help="200 images")
    parser.add_argument("--folder", type=pathlib.Path, help="where files go; default: temporary")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file to write")
    parser.add_argument("--place", choices=(*PLACES, "write"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    count = 200 if args.small else args.images
    if args.place == "write":
        write(args.folder, count)
        print("{}")
        return
    if args.place:
        print(json.dumps(measure(args.place, args.folder)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        flags = [f"--folder={name}", f"--images={count}"]
        measuring.in_a_process(__file__, ["--place=write", *flags])
        rows = {
            place: measuring.in_a_process(__file__, [f"--place={place}", *flags])
            for place in PLACES
        }
    print(table(rows, count))
    if args.out:
        measuring.write_json(args.out, {"places": rows, "images": count})


if __name__ == "__main__":
    main()

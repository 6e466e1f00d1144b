"""How near tokenizers' reconstructions of held-out images are, in features none was trained with.

    python benchmarks/perceptual.py runs/plain/backbone runs/adversarial/backbone \\
        --features=efficientnet-lite0 --images=photos/held_out

Give images and features that no tokenizer was trained with: a tokenizer is flattered by its own.
Each is compared with the first, image by image. All take images of one size.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import measuring  # noqa: E402
from maskgit_prompt import backbones  # noqa: E402
from maskgit_prompt.backbones import compiled  # noqa: E402
from maskgit_prompt.data import splits  # noqa: E402
from maskgit_prompt.data.pixels import Preprocessing  # noqa: E402
from maskgit_prompt.data.sets import synthetic  # noqa: E402
from maskgit_prompt.data.sets.folder import image_folder  # noqa: E402
from maskgit_prompt.devices import sharding  # noqa: E402
from maskgit_prompt.errors import UsageError, UserError  # noqa: E402
from maskgit_prompt.metrics import reconstruction  # noqa: E402
from maskgit_prompt.progress import progress  # noqa: E402
from maskgit_prompt.tasks.perceptual import make_measure, make_perceptual  # noqa: E402

SEED = 2**40  # of drawn pictures: far from the seeds that backbones are pretrained with
CHUNK = 64  # images between two updates of the progress bar
NORMAL = 1.96  # standard errors on either side of a 95 % interval


def images_of(path: str, most: int, size: int) -> np.ndarray:
    """uint8 [n, S, S, 3], at most about `most`: of a folder or archive, or drawn ones."""
    if not path:
        return synthetic.image_set(most, SEED, size).pixels()
    found = image_folder(path, Preprocessing(size))
    return found.read(splits.thin(found.labels, most, 0))


def reconstruct(part: backbones.Part, mesh: Any, real: np.ndarray) -> np.ndarray:
    """What a tokenizer makes of images, uint8 [n, S, S, 3]."""
    encode, size = compiled.make_encoder(part, mesh)
    return compiled.make_decoder(part, mesh)(compiled.in_batches(encode, real, size))


def compare(
    tokenizers: dict[str, backbones.Part],
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    real: np.ndarray,
) -> list[dict[str, Any]]:
    """A row per tokenizer, in their order.

    Each has "backbone", "psnr", "distance", the mean over images, and "interval", half a 95 %
    interval of it. All but the first have "difference", the mean of their distance minus the
    first's, with "difference_interval", and "nearer", the share of images that they keep better.
    """
    mesh, rows, first = sharding.make_mesh(), [], None
    with progress(len(tokenizers) * len(real), "reconstruct", "image", delay=2) as bar:
        for name, part in tokenizers.items():
            made, distances = [], []
            for start in range(0, len(real), CHUNK):
                some = real[start : start + CHUNK]
                made.append(reconstruct(part, mesh, some))
                distances.append(measure(some, made[-1]))
                bar.update(len(some))
            distances = np.concatenate(distances).astype(np.float64)
            psnr = reconstruction.measure(real, np.concatenate(made))["psnr"]
            row = {"backbone": name, "psnr": psnr, "distance": float(distances.mean())}
            rows.append(row | {"interval": _half_interval(distances)})
            if first is None:
                first = distances
            else:
                less = distances - first
                rows[-1] |= {
                    "difference": float(less.mean()),
                    "difference_interval": _half_interval(less),
                    "nearer": float(np.mean(less < 0)),
                }
    return rows


def _half_interval(x: np.ndarray) -> float:
    return NORMAL * float(np.std(x, ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'PSNR':>6} {'distance':>17} {'minus the first':>19} {'nearer':>7}  backbone"]
    for row in rows:
        compared = ""
        if "difference" in row:
            compared = f"{row['difference']:+.4f} ± {row['difference_interval']:.4f}"
        nearer = f"{row['nearer']:.0%}" if "nearer" in row else ""
        distance = f"{row['distance']:.4f} ± {row['interval']:.4f}"
        lines.append(
            f"{row['psnr']:6.2f} {distance:>17} {compared:>19} {nearer:>7}  {row['backbone']}"
        )
    return "\n".join(lines)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Raises UserError for what cannot be compared."""
    tokenizers = {name: backbones.load(name).part("tokenizer") for name in args.backbones}
    sizes = {name: part.cfg.image_size for name, part in tokenizers.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(
            "tokenizers of several image sizes do not compare: "
            + ", ".join(f"{name} takes {size}" for name, size in sizes.items())
        )
    [size] = set(sizes.values())
    distance = make_perceptual(args.features, size, guard=0.0, key="--features")
    real = images_of(args.images, args.most, size)
    rows = compare(tokenizers, make_measure(distance, sharding.make_mesh()), real)
    return {
        "features": distance.name,
        "images": len(real),
        "size": size,
        "of": args.images or "drawn pictures",
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="+", help="embedded backbones' names, or folders")
    parser.add_argument(
        "--features", default="efficientnet-lite0", help="as in tasks/perceptual.py"
    )
    parser.add_argument("--images", default="", help="folder or archive; default: drawn pictures")
    parser.add_argument("--most", type=int, default=500, help="images at most")
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file for the results")
    args = parser.parse_args(arguments)
    try:
        found = run(args)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{found['features']}, {found['images']} images of {found['size']} x {found['size']}")
    print(table(found["rows"]))
    if args.out:
        measuring.write_json(args.out, found)


if __name__ == "__main__":
    main()

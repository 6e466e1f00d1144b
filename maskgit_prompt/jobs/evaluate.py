"""Real images against generated ones: distances, precision and recall, from one pass of features.

1. Find the network and both sets of images, or the statistics of the real ones.
2. Look at every image once.
3. Compare.
4. Write results.json, and statistics.npz where the real images were looked at.
"""

import time
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from maskgit_prompt.config import rules
from maskgit_prompt.counts import counted
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.metrics.compared import Reference, Settings, check_varied, compare
from maskgit_prompt.report import results
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.evaluation import networks, statistics_files
from maskgit_prompt.tasks.evaluation.images import Pictures

STATISTICS = "statistics.npz"


def run(config: ConfigDict, path: str) -> None:
    began = time.perf_counter()
    rules.check(config)

    # 1. The network and the images.
    for name in ("real", "generated"):
        if not config[name]:
            raise UsageError(f"config.{name} is empty; give images, as --config.{name}=FOLDER")
    known = statistics_files.is_statistics(config.real)
    sets = {
        name: Pictures.find(config[name], f"config.{name}", config.size, config.fit)
        for name in ("real", "generated")
        if not (name == "real" and known)
    }
    network = networks.find(config.inception, config.resize, config.download)
    mesh = sharding.make_mesh(**config.mesh)
    reference, notes = None, []
    if known:
        reference, note = statistics_files.read(config.real, network.made, network.dims)
        notes += [note] if note else []

    workdir.check(path, config)

    # 2. What is seen in every image.
    look = networks.make_looking(network, mesh, max(len(one.names) for one in sets.values()))
    seen = {}
    for name, images in sets.items():
        seen[name] = look(images.batches())
        check_varied(f"config.{name} = {images.path!r}", seen[name])
    if "real" in seen:
        reference = Reference.of(seen["real"])
        notes += sizes_differ(sets["real"].size, sets["generated"].size)

    # 3. Distances.
    settings = Settings(
        config.seed,
        config.kid.subsets,
        config.kid.size,
        config.directions,
        config.splits,
        config.neighbours,
        config.most,
    )
    found = compare(reference, seen["generated"], settings, inception=network.is_inception)

    # 4. Files, only now: a run that fails leaves no folder behind.
    warnings = [*notes, *found.warnings]
    for warning in warnings:
        logging.warning("%s", warning.removesuffix("."))
    with workdir.prepare(path, config) as home:
        real: dict[str, Any] = {"path": config.real, "images": reference.images or None}
        if "real" in sets:
            real = sets["real"].to_json()
            more = {"images_at": config.real, "size": real["size"]}
            statistics_files.write(home / STATISTICS, reference, network.made, more)
        results.write_json(
            home / "results.json",
            {
                "scores": found.to_json(),
                "network": network.to_json(),
                "real": real,
                "generated": sets["generated"].to_json(),
                "seed": config.seed,
                "warnings": warnings,
                "config": config.to_dict(),
            },
        )
    print("\n".join(found.lines()))
    seconds = time.perf_counter() - began
    print(
        f"{counted(len(seen['generated']), 'generated image')} in the features of "
        f"{network.made.network}, resized by {config.resize}, in {seconds:.1f} s: "
        f"{home / 'results.json'}"
    )


def sizes_differ(real: tuple[int, int], generated: tuple[int, int]) -> list[str]:
    """A warning if real and generated images, (height, width) each, have two sizes."""
    if real == generated:
        return []
    shown = [f"{width} x {height}" for height, width in (real, generated)]
    return [
        f"Real images have {shown[0]} pixels and generated ones {shown[1]}: their sharpness counts "
        "as a difference; set config.size to the generated images' side to bring both to it."
    ]

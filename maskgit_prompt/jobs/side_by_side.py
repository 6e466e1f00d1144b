"""The main job on several backbones, on the same images for the same steps.

1. Check all models, images and settings, so that a mistake ends the run before it begins.
2. For every model and number of images per class run the main job in its own folder. Keep
   finished ones when the job starts again.
3. Write results.json and report.html: scores, speed and marquee of all models in one table.
"""

import pathlib
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.config import rules, uses
from maskgit_prompt.data import loading
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import obtain
from maskgit_prompt.metrics.scores import RUN_ROW
from maskgit_prompt.progress import Clock
from maskgit_prompt.report import results
from maskgit_prompt.report.side_by_side import side_by_side_report
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.generation.plan import claim, make_plan
from maskgit_prompt.tasks.generation.transfer import REPORT, carry_out


def run(config: ConfigDict, path: str) -> None:
    rules.check(config)
    loading.check_path(config.data)  # before a backbone is fetched
    names, all_shots = list(config.models.backbones), list(config.models.shots)

    # 1. Backbones.
    key = "config.models.backbones"
    folders = {name: obtain.backbone(name, config.download, key) for name in names}
    found = {name: backbones.load(folder, key) for name, folder in folders.items()}
    titles = [backbone.name for backbone in found.values()]
    if len(set(titles)) < len(titles):
        raise UsageError(
            f"config.models.backbones are called {', '.join(titles)}: two have the same name; "
            "import one again with another --config.name"
        )
    kinds = tuple(backbone.part("transformer").kind for backbone in found.values())
    uses.check(config, {"transformer": kinds})
    mesh = sharding.make_mesh(**config.mesh)
    configs = {
        (name, shots): _of_one(config, name, shots, backbone.part("transformer").decoding)
        for shots in all_shots
        for name, backbone in found.items()
    }
    plans = {key: make_plan(one, found[key[0]], mesh, path) for key, one in configs.items()}

    # 2. The main job on each.
    with workdir.prepare(path, config) as home:
        rows = []
        for shots in all_shots:
            for name, backbone in found.items():
                folder = home / f"{backbone.name}-{shots}"
                # A finished one is claimed, too: all of them are on the same images.
                with claim(plans[name, shots], folder):
                    if not (folder / REPORT).exists():
                        print(f"{backbone.name}, images per class: {shots}", flush=True)
                        clock = Clock()
                        with clock("load"):
                            plan = make_plan(configs[name, shots], backbone, mesh, folder)
                        carry_out(plan, folder, clock)
                rows.append({"shots": shots, **_row(folder)})

        # 3. Files.
        results.write_json(home / "results.json", {"rows": rows, "config": config.to_dict()})
        most = max(all_shots)
        pictures = {}
        for row in rows:
            if row["shots"] == most:
                with Image.open(home / row["folder"] / "samples" / "prompt.png") as sheet:
                    pictures[row["model"]] = sheet.copy()
        side_by_side_report(
            home / "report.html",
            rows,
            pictures,
            title=f"Backbones side by side: {' and '.join(titles)}",
            causal=config.causal.to_dict(),
            config=config.to_dict(),
        )
        print(f"report: {home / 'report.html'}")


def _of_one(config: ConfigDict, name: str, shots: int, decoding: str) -> ConfigDict:
    """The config of the main job on one model."""
    one = ConfigDict(config.to_dict())
    del one["models"], one["causal"]
    if decoding == "autoregressive":
        one.update(config.causal)
    one.job, one.backbone, one.model, one.data.shots = "run", name, "", shots
    return one


def _row(folder: pathlib.Path) -> dict[str, Any]:
    """A finished main job's row of the table."""
    run = results.read_run(folder)
    return run.row((*RUN_ROW, "tuning_seconds", "seconds_per_image")) | {
        "model": run.backbone,
        "transformer": run.transformer,
        "folder": folder.name,
        "marquee": run.marquee,
    }

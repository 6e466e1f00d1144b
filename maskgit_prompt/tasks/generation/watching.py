"""What tuning comes to, while it goes on: a sheet of images every few steps, and their page."""

import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from maskgit_prompt.devices import distributed, sharding
from maskgit_prompt.params import Tree
from maskgit_prompt.report import sheets
from maskgit_prompt.report.progress import progress_page
from maskgit_prompt.storage import workdir
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.images import TunedSampler
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tuning.tune import curves_of

EACH = 4  # images per class
FOLDER, PAGE = "progress", "progress.html"


def add_sheet(
    home: pathlib.Path,
    title: str,
    columns: Mapping[str, str],
    sheet: Image.Image,
    step: int,
    steps: int,
) -> None:
    """Writes progress/STEP.png and progress.html, on the first host.

    columns: of metrics.jsonl -> what their curves are called.
    """
    if not distributed.is_first():
        return
    sheets.save_png(sheet, home / FOLDER / f"{step}.png")
    rows = workdir.Metrics(home, tensorboard=False).rows()
    losses = {columns[c]: x for c, x in curves_of(rows, list(columns)).items()}
    # A run that was resumed may have left sheets of steps that it takes again.
    drawn = {int(path.stem): path for path in (home / FOLDER).glob("*.png")}
    drawn = {made: path for made, path in drawn.items() if made <= step}
    progress_page(home / PAGE, title, losses, drawn, steps)


def make_show(plan: Plan, home: pathlib.Path, steps: int) -> Callable[[int, Tree], None]:
    """The function of a step and the whole tree that writes progress/STEP.png and progress.html.

    Images are decoded as config.sample says, of the classes that are tuned on, or of as many as
    other sheets show. The noise is that of the run's final images.

    steps: of the whole run; with the last of them the page is finished.
    """
    data = plan.data
    classes = np.repeat(pictures.shown_classes(data.labels(data.tune)), EACH)

    def show(step: int, tree: Tree) -> None:
        prompt = sharding.tree_to_host(tree["prompt"], plan.mesh)
        drawing = TunedSampler.of(plan, tree["transformer"], prompt)
        images = drawing.of_classes(plan, classes, what="show")
        sheet = pictures.sheet(images, classes, data.images.classes)
        title = f"Tuning: {data.images.name} on {plan.backbone.name}"
        add_sheet(home, title, pictures.CURVES, sheet, step, steps)

    return show

"""Files of a finished run that other runs read: the chosen images, the prompt."""

import csv
import dataclasses
import io
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskgit_prompt import backbones, params
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.storage.files import write_whole
from maskgit_prompt.storage.image_files import write_images
from maskgit_prompt.tasks.generation.plan import PARTS, Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt


def save_choice(home: pathlib.Path, data: Splits) -> None:
    """chosen.csv: the images that the prompt is tuned on and their classes."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("file", "class"))
    for row, label in zip(data.tune, data.labels(data.tune), strict=True):
        rows.writerow((data.images.ids[row], data.images.classes[label]))
    write_whole(home / "chosen.csv", text.getvalue().encode())


def save_images(
    home: pathlib.Path,
    names: Sequence[str],
    classes: np.ndarray,
    images: np.ndarray,
    most: int,
) -> None:
    """images/CLASS/00000.png: the generated images, uint8 [n, S, S, 3], of classes [n].

    Of more than `most` the first of each class, as many of one as of another; 0: none.
    """
    number = np.arange(len(classes)) - np.searchsorted(classes, classes)  # in its class
    each = most // len(np.unique(classes)) if len(images) > most else len(images)
    kept = number < each
    if kept.any():
        write_images(home, names, classes[kept], images[kept])


def save_prompt(
    plan: Plan, tuned: TunedModel, found: dict[str, Any], home: pathlib.Path
) -> tuple[pathlib.Path, str]:
    """Writes prompt.safetensors; returns its path and the command that samples from it again.

    Where config.trainable changed the transformer, too, a prompt is of use on that one alone: the
    folder backbone/ is then written beside it, and is the backbone that the prompt file names.
    """
    config, backbone, data, cfg = plan.config, plan.backbone, plan.data, plan.prompt_config
    name = config.backbone
    model = {"transformer": backbone.part("transformer").tree, "prompt": tuned.prompt}
    trained, _ = params.split(model, config.trainable)
    if "transformer" in trained:
        part = backbone.part("transformer")
        part = dataclasses.replace(part, tree=sharding.tree_to_host(tuned.transformer, plan.mesh))
        changed = {**backbone.parts, "transformer": part}
        changed = dataclasses.replace(backbone, name=f"{backbone.name}, tuned", parts=changed)
        backbone, name = backbones.save(changed, home / "backbone"), str(home / "backbone")
    path = home / "prompt.safetensors"
    rows = data.tune if cfg.instances else data.tune[:0]
    tuned_prompt.save(
        path,
        TunedPrompt(
            config=cfg,
            tree=tuned.prompt,
            classes=data.images.classes,
            instances=tuple(data.images.ids[row] for row in rows),
            instance_classes=tuple(data.labels(rows).tolist()),
            backbone=TunedOn.of(backbone, PARTS),
            sample=config.sample.to_dict(),
            scores={name: found[name] for name in ("accuracy", "frechet", "kid", "loss")},
        ),
    )
    command = ["python", "-m", "maskgit_prompt.main", "--config=configs/sample.py"]
    command += [f"--config.prompt={path}", f"--workdir={home / 'more'}"]
    if name:
        command.append(f"--config.backbone={name}")
    return path, shlex.join(command)

"""The log folder of a Taming Transformers run: its weights, and what its yaml says.

FOLDER/checkpoints/last.ckpt    FOLDER/configs/…-project.yaml
"""

import dataclasses
import os
import pathlib
from typing import Any

import yaml

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers.rules import Options


def find(path: str, options: Options) -> tuple[str, Options]:
    """(the checkpoint, options completed from the yaml) of a folder, or of a file in one.

    Raises:
      UserError: no checkpoint, or an invalid yaml.
    """
    place = pathlib.Path(path)
    if place.is_dir():
        folder = place
        found = [place / "checkpoints" / "last.ckpt"]
        found += sorted(place.glob("checkpoints/*.ckpt")) + sorted(place.glob("*.ckpt"))
        checkpoint = next((file for file in found if file.is_file()), None)
        if checkpoint is None:
            raise UserError(
                f"{path} has no checkpoints/last.ckpt and no other .ckpt; expected a folder of "
                "Taming Transformers' logs, or a checkpoint file"
            )
    else:
        checkpoint = place
        folder = place.parent.parent if place.parent.name == "checkpoints" else place.parent
    named = [*sorted(folder.glob("configs/*.yaml")), *sorted(folder.glob("*.yaml"))]
    # Lightning's own settings are beside the model's.
    yamls = [file for file in named if not file.name.endswith("lightning.yaml")]
    return os.fspath(checkpoint), _fill(options, yamls[-1]) if yamls else options


def _fill(options: Options, path: pathlib.Path) -> Options:
    try:
        model = yaml.safe_load(path.read_text())["model"]["params"]
        values = {
            "image_size": _get(model, "ddconfig", "resolution")
            or _get(model, "first_stage_config", "params", "ddconfig", "resolution"),
            "heads": _get(model, "transformer_config", "params", "n_head"),
            "unmasked": _get(model, "transformer_config", "params", "n_unmasked"),
            "classes": _get(model, "cond_stage_config", "params", "n_classes"),
        }
        found = {name: int(value) for name, value in values.items() if value}
    except (KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{path} is not a config of Taming Transformers ({text})") from error
    given = {name: x for name, x in dataclasses.asdict(options).items() if x}
    return Options(**{**found, **given})


def _get(values: Any, *keys: str) -> Any:
    """values[a][b]…, or None if there is no such entry (a condition may be a plain word)."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values

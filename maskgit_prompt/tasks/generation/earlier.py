"""A run of earlier, its prompt and what it was scored on, to go on from."""

import dataclasses
import pathlib

from ml_collections import ConfigDict

from maskgit_prompt import params, renamed
from maskgit_prompt.errors import UsageError
from maskgit_prompt.storage.files import read_json
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt


@dataclasses.dataclass(frozen=True)
class Run:
    """What a main job left in its folder.

    Attributes:
      folder: where it is.
      file: its prompt file.
      config: its config, with today's keys.
      prompt: what that file holds.
      images: what its images were, as `workdir.bind` wrote it.
    """

    folder: pathlib.Path
    file: pathlib.Path
    config: ConfigDict
    prompt: TunedPrompt
    images: dict[str, str]


def load(path: str, default: ConfigDict) -> Run:
    """Reads the run in a folder, or the run whose prompt file this is.

    Args:
      default: the main job's config, for keys that the run's version did not have.

    Raises:
      UsageError: nothing there, a prompt file without its run, or a run of another job.
      UserError: files that are damaged.
    """
    folder = pathlib.Path(path)
    file = folder / tuned_prompt.FILE.name if folder.is_dir() else folder
    prompt = tuned_prompt.load(file)
    folder = file.parent
    known = folder / "config.json"
    if not known.exists():
        raise UsageError(
            f"config.prompt = {path!r}: no config.json beside {file.name} tells what images it was "
            "tuned on; give the folder of the run, as --config=configs/sample_study.py:runs/mine"
        )
    found = params.flatten(read_json(known, "give another run"))
    found = {key.replace("/", "."): value for key, value in found.items()}
    have = {key.replace("/", ".") for key in params.flatten(default.to_dict())}
    found = renamed.as_today(found, have)
    if (job := found["job"]) != default.job:
        raise UsageError(
            f"config.prompt = {path!r} is in a workdir of the job {job!r}, expected one of "
            f"{default.job!r}"
        )
    config = ConfigDict(default.to_dict())
    if unknown := sorted(found.keys() - have - {"workdir"}):
        raise UsageError(
            f"{known} has config.{unknown[0]}, which this version does not know; use the version "
            "that wrote it"
        )
    as_tuples = {k: tuple(x) if isinstance(x, list) else x for k, x in found.items() if k in have}
    config.update_from_flattened_dict(as_tuples)
    images = read_json(folder / "images.json", "give another run")
    return Run(folder, file, config, prompt, images)

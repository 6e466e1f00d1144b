"""Settings per task of VTAB-1k that authors have published, each with where it stands.

There are few: the authors of Visual Prompt Tuning released no others with their code.
"""

import dataclasses

from ml_collections import ConfigDict

from maskgit_prompt.errors import UsageError

BATCH = 256  # what a learning rate of a sweep is for, see optimizer.scaled


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one task was trained with.

    Attributes:
      learning_rate: of the optimizer, for batches of this size: nothing multiplies it any more.
      tokens, dropout: of deep prompts.
      accuracy: what the source reports, with its deviation over five seeds, in percent.
      source: where all this stands.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    tokens: int
    dropout: float
    accuracy: tuple[float, float]
    source: str

    @property
    def rate(self) -> float:
        """The learning rate before optimizer.scaled: 12.5 in batches of 128 is 25."""
        return self.learning_rate * BATCH / self.batch_size


_DEMO = "KMnP/vpt at 4410440, demo.ipynb: ViT-B/16 of ImageNet-21k, deep prompts"
# Name of a source -> task -> what it says.
SETTINGS: dict[str, dict[str, Setting]] = {
    "vpt-demo": {
        "dmlab": Setting(0.25, 1e-3, 64, 100, 0.1, (46.62, 0.47), _DEMO),
        "eurosat": Setting(0.25, 1e-3, 64, 100, 0.1, (96.15, 0.45), _DEMO),
        "sun397": Setting(12.5, 1e-4, 128, 5, 0.1, (51.57, 1.40), _DEMO),
    }
}


def applied(config: ConfigDict, task: str) -> ConfigDict:
    """A sweep's config for one task: with config.sweep.settings, a grid of that one setting.

    Raises:
      UsageError: no such source, or one that says nothing of the task or of the method.
    """
    if not config.sweep.settings:
        return config
    known = SETTINGS[config.sweep.settings]
    if task not in known:
        raise UsageError(
            f"config.sweep.settings = {config.sweep.settings!r} has none for {task}; it has "
            f"{', '.join(known)}: name some of these as config.tasks, or leave it out"
        )
    if config.method != "prompt" or not config.prompt.deep:
        raise UsageError(
            f"config.sweep.settings = {config.sweep.settings!r} is for deep prompts; set "
            "config.method=prompt and config.prompt.deep=True, or leave it out"
        )
    found, one = known[task], ConfigDict(config.to_dict())
    one.sweep.learning_rates, one.sweep.weight_decays = (found.rate,), (found.weight_decay,)
    one.sweep.tokens, one.prompt.dropout = (found.tokens,), found.dropout
    one.train.batch_size, one.optimizer.scaled = found.batch_size, True
    return one


def source_of(config: ConfigDict, task: str) -> str:
    """One line: where the settings of a task come from, and what they gave there; "" for a grid."""
    if not config.sweep.settings:
        return ""
    one = SETTINGS[config.sweep.settings][task]
    accuracy, deviation = one.accuracy
    return f"{task}: settings of {one.source}; {accuracy:.2f} ± {deviation:.2f} % there"

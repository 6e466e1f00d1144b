"""The defaults of the job that tries ways to decode."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import base


def sample_study(path: str = "") -> ConfigDict:
    """Images of a tuned prompt under a grid of settings, scored as the run that tuned it was."""
    config = base("sample_study")
    for name in ("dtype", "attention"):  # as in the run
        del config[name]
    config.prompt = path  # the folder of a run, or the prompt.safetensors in it
    config.data = ConfigDict({"path": ""})  # where the run's images are now; empty: where they were
    config.per_class = 0  # images per class and setting; 0: as many as the run scored
    # The score that decides: "frechet", "kid", "accuracy", "precision", "recall", "density" or
    # "coverage".
    config.by = "frechet"
    # Values to try of the keys of config.sample, each with each; empty: the run's own value. With
    # none given, those of GRIDS in maskgit_prompt/config/grid.py.
    config.grid = ConfigDict(
        {
            "sampler": (),
            "entropy_bound": (),
            "remask": (),
            "window": (),
            "steps": (),
            "schedule": (),
            "order": (),
            "choice_temperature": (),
            "temperature": (),
            "top_k": (),
            "top_p": (),
            "guidance": (),
            "guidance_schedule": (),
            "guidance_power": (),
            "guidance_begin": (),
            "guidance_end": (),
            "guidance_from": (),
        }
    )
    return config

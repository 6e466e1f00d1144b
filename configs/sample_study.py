"""The best way to decode with a tuned prompt, by measured scores; PATH is the run's folder.

    python -m maskgit_prompt.main --config=configs/sample_study.py:runs/digits \\
        --workdir=runs/study
    python -m maskgit_prompt.main --config=configs/sample_study.py:runs/digits --workdir=runs/few \\
        --config.grid.steps=8 --config.grid.steps=32 --config.grid.order=halton

The path may also be the prompt.safetensors in that folder. The run's images must still be there,
since settings are scored as the run was. Without config.grid about thirty settings are tried; see
docs/configuration.md. Stopped and started again it goes on with the next setting.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(path: str = "") -> ConfigDict:
    return defaults.sample_study(path)

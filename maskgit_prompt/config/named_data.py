"""Data sets that have a name: VTAB's tasks, few-shot sets."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import FOLDER_FRACTIONS, options_of
from maskgit_prompt.errors import UsageError


def vtab(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a config of the main job to VTAB: TASK or group, …[,shots=5][,steps=9][,split=train].

    Args:
      file: the config file's name, for messages.
    """
    config.job = "vtab"
    # Tasks and groups; empty: all 19.
    config.tasks = tuple(part for part in arg.split(",") if part and "=" not in part)
    # As google-research/generative_transfer: tuned on train, measured against all there is.
    config.data.name = "vtab"
    config.data.test, config.data.reference = "test", "all"
    config.prompt.instances = False  # a prompt for each image would grow with the data set
    config.train.epochs = 100.0
    config.train.steps = 50_000
    config.train.evaluate_every = 5_000
    config.score.images = 5_000
    given = [part for part in arg.split(",") if "=" in part]
    options = options_of(given, {"shots": int, "steps": int, "split": str}, f"configs/{file}:{arg}")
    # Steps of every task; 0: train.epochs and train.steps decide.
    config.steps = options.get("steps", 0)
    config.data.shots = options.get("shots", 0)
    config.data.split = options.get("split", "train")
    return config


def vtab_folder(arg: str = "") -> ConfigDict:
    """VTAB-1k from prepared TFDS data as a folder of images and lists: TASK or group, …"""
    return ConfigDict(
        {
            "job": "vtab_folder",  # the job to run: a file of maskgit_prompt/jobs/
            # Tasks and groups; empty: all 19.
            "tasks": tuple(part for part in arg.split(",") if part),
            "data": {
                # Folder of the data that TFDS has prepared; empty: $TFDS_DATA_DIR, or
                # ~/tensorflow_datasets.
                "data_dir": "",
                "download": False,  # let TFDS download and prepare what is missing
            },
        }
    )


def few_shot(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a config of the main job to a named set: NAME[,shots=5][,steps=500][,path=FOLDER].

    Args:
      file: the config file's name, for messages.
    """
    from maskgit_prompt.data.sets import fewshot

    name, *rest = arg.split(",")
    found = fewshot.find(name)
    options = options_of(rest, {"shots": int, "steps": int, "path": str}, f"configs/{file}:{arg}")
    config.data.classes = found.classes
    config.data.shots = options.get("shots", 5)
    config.train.steps = options.get("steps", 500)
    config.data.path = options.get("path", "")
    if config.data.path:
        config.data.name = "folder"
        config.data.fractions = ConfigDict(FOLDER_FRACTIONS)
    elif found.dataset:
        config.data.name, config.data.dataset = "tfds", found.dataset
        config.data.split, config.data.test = "train", found.test
    else:
        raise UsageError(
            f"configs/{file}:{name} is a folder that you fetch: {found.fetch}; then "
            f"configs/{file}:{name},path=FOLDER"
        )
    return config

"""The defaults of the job that tunes a segmenter."""

from ml_collections import ConfigDict

from maskgit_prompt.config.classification import around_encoder
from maskgit_prompt.config.defaults import base, options_of, training


def segment() -> ConfigDict:
    """The main job on pixels: a prompt in a frozen encoder, and a head on its patches."""
    config = training(base("segment"), steps=100_000, batch_size=16, learning_rate=3e-3)
    config.task = "segmentation"  # what the run learns: a folder of maskgit_prompt/tasks/
    config = around_encoder(config)
    del config.prompt["start"]
    config.data = ConfigDict(
        {
            # Folder of images/NAME.jpg and masks/NAME.png; empty: drawn scenes.
            "path": "",
            "num": 240,  # number of drawn scenes
            "heldout": 0.25,  # share of the images that is held out
            "seed": 0,  # seed of drawn scenes, and of which images are held out
        }
    )
    config.head = ConfigDict(
        {
            "hidden": 64,  # width behind the head's convolutions
            "doublings": 2,  # convolutions with twice the side behind them; 0: one linear layer
        }
    )
    config.train.epochs = 20.0  # times through the images, but no more than train.steps
    config.train.evaluate_every = 0  # steps between accuracies; 0: only at the end
    config.train.remat = False  # recompute activations: a third of the memory, hardly more time
    config.optimizer.b2 = 0.999
    config.optimizer.warmup_epochs = 1.0  # times through the images in which the rate rises
    config.optimizer.scaled = False  # multiply the learning rate by train.batch_size / 256
    return config


def masks() -> ConfigDict:
    """The class of each pixel of pictures, by a segmenter that was tuned before."""
    config = base("masks")
    config.segmenter = ""  # the segmenter.safetensors of a run
    config.batch_size = 16  # pictures at once
    config.data = ConfigDict(
        {
            # The pictures: a folder with all its folders, a zip or tar archive, a file, or a list
            # of files (.txt).
            "path": "",
        }
    )
    return config


def segment_folder(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a segmenter's config to a folder: PATH[,epochs=20][,method=linear].

    Args:
      file: the config file's name, for messages.
    """
    config.data.path, *options = arg.split(",")
    found = options_of(options, {"epochs": int, "method": str}, f"configs/{file}:{arg}")
    config.train.epochs = float(found.get("epochs", config.train.epochs))
    config.method = found.get("method", config.method)
    return config

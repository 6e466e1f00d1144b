"""The defaults of the job that tunes a classifier."""

from ml_collections import ConfigDict

from maskgit_prompt.config.defaults import FOLDER_FRACTIONS, base, images, options_of, training
from maskgit_prompt.errors import UsageError


def around_encoder(config: ConfigDict) -> ConfigDict:
    """Adds what is tuned around an encoder, besides a head."""
    # The kind of encoder: "vit", "swin", "resnet" or "convnext"; empty: the backbone's.
    config.model = ""
    # What is tuned: "prompt", "linear", "full", "last_1", "last_2", "last_4", "bias", "norm",
    # "adapter", "lora", "cls" (the class token), "cls_reinit" (the same from near zero), or both of
    # two as "prompt_bias", "prompt_cls" and "prompt_cls_reinit"; with "prompt_noupdate" the prompt
    # stays random. The head always is.
    config.method = "prompt"
    config.trainable = ("method",)  # patterns of paths that are tuned; "method": the method's
    config.prompt = ConfigDict(
        {
            # Number of prompt tokens; with "pad" pixels of the frame, with "below" channels.
            "tokens": 10,
            "deep": True,  # fresh prompt tokens before every block
            "blocks": 0,  # with deep: how many blocks have fresh tokens; 0: all
            "end": "bottom",  # with blocks: at which end they are, "bottom" (the first) or "top"
            # Where they go: "prepend" as tokens, "add" to each token its own, "add-1" to all tokens
            # the same, "pixel" as pieces of images, "pad" as a frame of pixels around the image,
            # "below" as further channels of the image.
            "location": "prepend",
            "stay": True,  # with blocks: prompt tokens go on where no fresh ones come in
            "project": 0,  # width of the tokens before a dense layer; 0: the encoder's, no layer
            "shared": False,  # with deep: the same tokens before every block
            "dropout": 0.0,  # dropout rate of prompt tokens in training
            # Their first values: "uniform" as in VPT, or "patches" of images to tune on.
            "start": "uniform",
        }
    )
    config.adapter = ConfigDict({"reduction": 8})  # width of the encoder over an adapter's
    config.lora = ConfigDict(
        {
            "rank": 8,  # rank of the updates
            "alpha": 8.0,  # updates are scaled by alpha / rank
            # Pattern of the kernels that are updated.
            "targets": ".*blocks/attention/(query|value)/kernel",
        }
    )
    return config


def classify() -> ConfigDict:
    """The main job on a classifier: a prompt in a frozen encoder, and a head on its features."""
    config = training(base("classify"), steps=100_000, batch_size=64, learning_rate=0.25)
    config.task = "classification"  # what the run learns: a folder of maskgit_prompt/tasks/
    config = around_encoder(config)
    # How images are resized and normalized: "backbone", "vpt", "vpt-fgvc", "osu" or "fact".
    config.protocol = "backbone"
    config.data = images()
    config.data.name = "twemoji"
    # Split that decides between settings; empty: none. With a folder it is a share of each class.
    config.data.validation = ""
    config.data.fractions = ConfigDict(
        {
            "tune": 0.3,  # share of each class that tuning images are chosen from
            "judge": 0.2,  # share of each class that decides between settings
            "test": 0.5,  # share of each class that is held out
        }
    )
    config.data.crop = 0.0  # the most that a random crop cuts off in training, as a share
    config.data.flip = False  # mirror half of the images in training
    config.head = ConfigDict(
        {
            "hidden": 0,  # number of hidden layers in front of the linear one
            "dropout": 0.1,  # with hidden: dropout rate behind each of them
        }
    )
    config.train.epochs = 100.0  # times through the images, but no more than train.steps
    config.train.evaluate_every = 0  # steps between accuracies; 0: only at the end
    config.train.remat = False  # recompute activations: a third of the memory, hardly more time
    config.optimizer.name = "sgd"
    config.optimizer.clip = 0.0
    config.optimizer.decays = ("head/out/bias=0",)
    config.optimizer.weight_decay = 1e-3
    config.optimizer.warmup_epochs = 10.0  # times through the images in which the rate rises
    config.optimizer.scaled = True  # multiply the learning rate by train.batch_size / 256
    return config


OPTIONS = {
    "shots": ("data.shots", int),
    "epochs": ("train.epochs", int),
    "method": ("method", str),
    "folder": ("data.path", str),
    "settings": ("sweep.settings", str),
}


def classify_folder(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a classifier's config to a folder: PATH[,shots=5][,epochs=20][,method=linear].

    Args:
      arg: empty: the config stays as it is.
      file: the config file's name, for messages.
    """
    if not arg:
        return config
    config.data.name = "folder"
    config.data.shots = 0
    config.data.fractions = ConfigDict(FOLDER_FRACTIONS)
    config.data.path, *options = arg.split(",")
    return _with_options(config, options, ("shots", "epochs", "method"), f"configs/{file}:{arg}")


def _with_options(
    config: ConfigDict, parts: list[str], names: tuple[str, ...], where: str
) -> ConfigDict:
    """Sets what stands as NAME=VALUE in a config file's argument."""
    found = options_of(parts, {name: OPTIONS[name][1] for name in names}, where)
    values = {OPTIONS[name][0]: value for name, value in found.items()}
    if "train.epochs" in values:
        if not values["train.epochs"]:
            raise UsageError(
                f"{where} has 'epochs=0', expected 1 or more; to count steps instead, set "
                "--config.train.epochs=0 --config.train.steps=NUMBER"
            )
        values["train.epochs"] = float(values["train.epochs"])
    config.update_from_flattened_dict(values)
    return config


def predict() -> ConfigDict:
    """Classes of pictures, by classifiers that were tuned before."""
    config = base("predict")
    # The classifier.safetensors of runs, on one backbone; each answers for itself.
    config.classifiers = ()
    config.ensemble = False  # average the probabilities of classifiers of the same classes
    config.top = 5  # how many classes are written for each picture
    config.batch_size = 64  # pictures at once
    config.data = ConfigDict(
        {
            # The pictures: a folder with all its folders, a zip or tar archive, a file, or a list
            # of files (.txt).
            "path": "",
        }
    )
    return config


# KMnP/vpt's for prompts and heads (tune_vtab.py): rates of a batch of 256.
RATES = (50.0, 25.0, 10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05)
DECAYS = (0.01, 0.001, 0.0001, 0.0)
SEEDS = (42, 44, 82, 100, 800)


def sweep() -> ConfigDict:
    """Settings of a classifier chosen on images that decide, then trained with several seeds."""
    config = classify()
    config.job = "sweep"
    # With data "vtab": tasks and groups; with "fgvc": sets. Empty: all.
    config.tasks = ()
    config.sweep = ConfigDict(
        {
            "tokens": (1, 5, 10, 50),  # prompt lengths that are tried; config.prompt.tokens is not
            "learning_rates": RATES,  # learning rates that are tried, before optimizer.scaled
            "weight_decays": DECAYS,  # weight decays that are tried
            "seeds": SEEDS,  # seeds of the runs that are reported
            "together": 12,  # runs that stand side by side in one program
            # Published settings per task in place of the grid: "vpt-demo" has dmlab, eurosat and
            # sun397; empty: the grid.
            "settings": "",
            "final": "",  # split that the reported runs are tuned on; empty: tune and judge
            "with_judge": True,  # without final: False leaves out the images that decide
        }
    )
    return config


def vpt_vtab(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a sweep's config to VTAB-1k: TASK or group, …[,epochs=20][,method=linear][,folder=DIR]
    [,settings=vpt-demo].

    Args:
      file: the config file's name, for messages.
    """
    config.tasks = tuple(part for part in arg.split(",") if part and "=" not in part)
    config.data.name, config.data.shots = "vtab", 0
    config.data.split, config.data.validation = "train800", "val200"
    config.data.test, config.sweep.final = "test", "train800val200"
    config.protocol = "vpt"
    given = [part for part in arg.split(",") if "=" in part]
    options = ("epochs", "method", "folder", "settings")
    return _with_options(config, given, options, f"configs/{file}:{arg}")


def vpt_fgvc(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a sweep's config to the five fine-grained sets: FOLDER[,cub][,dogs][,epochs=20]
    [,method=linear].

    Args:
      file: the config file's name, for messages.
    """
    config.data.path, *rest = arg.split(",")
    config.tasks = tuple(part for part in rest if part and "=" not in part)
    config.data.name, config.data.shots = "fgvc", 0
    config.data.split, config.data.validation, config.data.test = "train", "val", "test"
    config.protocol = "vpt-fgvc"
    config.train.batch_size = 128  # KMnP/vpt, configs/base-prompt.yaml
    # tune_fgvc.py tries all rates of tune_vtab.py but the lowest.
    config.sweep.learning_rates = RATES[:-1]
    given = [part for part in rest if "=" in part]
    return _with_options(config, given, ("epochs", "method"), f"configs/{file}:{arg}")


def robustness() -> ConfigDict:
    """How classifiers stand up to adversarial images, over the size of the change."""
    config, tuned = base("robustness"), classify()
    config.task = tuned.task
    # The classifier.safetensors of runs on one backbone and one set of images.
    config.classifiers = ()
    config.data = tuned.data  # as in those runs: their held-out images are attacked
    # What is tried: "fgsm" is one step, "pgd" several from a random start.
    config.attacks = ("fgsm", "pgd")
    config.epsilons = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # largest changes of a value of 0 to 255
    config.steps = 10  # steps of pgd
    config.most = 500  # images that are attacked, at most, each class in proportion; 0: all
    config.batch_size = 64  # images at once
    return config

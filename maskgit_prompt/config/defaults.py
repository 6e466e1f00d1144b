"""The defaults of every job; the files in configs/ change what is theirs.

Nothing that takes time is imported here, so that --help stays fast.
"""

import importlib
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from maskgit_prompt.errors import UsageError

FOLDER_FRACTIONS = {"tune": 0.6, "judge": 0.2, "test": 0.2}
FOLDER_OPTIONS = {"shots": "data.shots", "steps": "train.steps"}
# What tuning and sampling a causal transformer does well with, of few images. Noise on the input
# codes, since the second stage overfits them.
CAUSAL = {
    "prompt.prefix": True,
    "next_code.keep": 0.9,
    "sample.temperature": 0.9,
    "sample.guidance": 1.5,
}


def base(job: str) -> ConfigDict:
    """What every job has."""
    return ConfigDict(
        {
            "job": job,  # the job to run: a file of maskgit_prompt/jobs/
            "seed": 0,  # seed of weights, batches, masks and samples
            # An embedded or published model's name, or a backbone's folder or address; empty: the
            # embedded model.
            "backbone": "",
            "download": False,  # fetch a backbone that is not on this machine
            "dtype": "float32",  # dtype of activations; use "bfloat16" on accelerators
            # What computes a transformer's attention: "auto", "xla", "cudnn" or "tokamax".
            "attention": "auto",
            "mesh": {
                "data": -1,  # devices along which batches are split; -1: all that remain
                "fsdp": 1,  # devices along which batches and frozen weights are split
                "tensor": 1,  # devices along which heads and hidden units are split
            },
        }
    )


def training(
    config: ConfigDict, *, steps: int, batch_size: int, learning_rate: float
) -> ConfigDict:
    """Adds what every job that trains has."""
    config.train = ConfigDict(
        {
            "steps": steps,  # optimizer steps
            "batch_size": batch_size,  # images per step, on all devices together
            "micro_batches": 1,  # pieces of a batch whose gradients are averaged
            "ema_decay": 0.0,  # decay of an average of the trained parameters; 0: no average
            "log_every": 10,  # steps between lines of metrics
            "save_every": 200,  # steps between checkpoints
            "tensorboard": True,  # write TensorBoard events, too
        }
    )
    config.profile = ""  # "20:5": a profiler's trace of the five steps after step 20
    config.optimizer = ConfigDict(
        {
            "name": "adamw",  # the optimizer: "adamw", "sgd", or "adamw-vpt" as in VPT's code
            "learning_rate": learning_rate,  # the highest learning rate
            # The learning rate falls to 0 along half a "cosine", or stays "constant".
            "schedule": "cosine",
            "warmup_steps": 0,  # steps in which the learning rate rises from 0
            "hold": 1,  # steps between changes of the learning rate
            "rates": (),  # learning rates by path, first match wins: "transformer/.*=1e-4"
            "decays": (),  # weight decays by path, first match wins: ".*(bias|scale)=0"
            "momentum": 0.9,  # momentum of sgd; 0: none
            "nesterov": False,  # use Nesterov's momentum in sgd
            "b1": 0.9,  # decay rate of adamw's first moment
            "b2": 0.96,  # decay rate of adamw's second moment
            "eps": 1e-8,  # keeps adamw from dividing by 0
            "weight_decay": 0.0,  # weight decay of parameters that no pattern of decays matches
            "clip": 1.0,  # largest global norm of the gradient; 0: no limit
        }
    )
    return config


def masking() -> ConfigDict:
    """How codes are hidden in training."""
    return ConfigDict(
        {
            # Gives the share of hidden codes: "cosine", "linear", "uniform", "pow2", "log", "exp".
            "schedule": "cosine",
            "shared": False,  # draw one share for the whole batch, not one per image
            "smoothing": 0.1,  # label smoothing of the loss
            "drop_class": 0.0,  # in pretraining: share of examples without their class
        }
    )


def next_code() -> ConfigDict:
    """How a causal transformer is trained."""
    return ConfigDict(
        {
            "keep": 1.0,  # share of input codes that stay; the others become random ones
            "smoothing": 0.0,  # label smoothing of the loss
            "drop_class": 0.0,  # in pretraining: share of examples without their class
        }
    )


def images() -> ConfigDict:
    """Where the main job's images come from, and how they become square."""
    return ConfigDict(
        {
            # The source: "digits", "twemoji", "folder", "tfds", "vtab" or "fgvc".
            "name": "digits",
            # The folder, or a zip or tar archive; with "vtab" a folder of lists and images in place
            # of TFDS's data, with "fgvc" the folder of the sets.
            "path": "",
            "csv": "",  # table of files and classes; empty: the folder's labels.csv, if it has one
            "dataset": "",  # name of a TFDS data set: "imagenet2012" or "eurosat/rgb:2.*.*"
            "label": "label",  # the feature of the TFDS data set that holds the class
            "task": "",  # the VTAB task, or the set of "fgvc"
            # Folder of the data that TFDS has prepared; empty: $TFDS_DATA_DIR, or
            # ~/tensorflow_datasets.
            "data_dir": "",
            "download": False,  # let TFDS download and prepare what is missing
            "split": "train",  # split to tune on: a slice of TFDS, or one of VTAB's splits
            # Split that is held out; of it half trains the judge, where there is one.
            "test": "test",
            "classes": (),  # names of classes to take, in this order; empty: all
            # How an image becomes square. "crop": its middle square; "resize": all of it,
            # distorted; "pad": all of it, with bars in the colour of its edge; "inside": the middle
            # of it, resized to 8/7 of the side.
            "fit": "crop",
            "full_scale": 0.0,  # value of white above 8 bits; 0: as the files say
            "max_pixels": 300_000_000,  # images with more pixels are skipped and named
            "shots": 10,  # images per class to tune on; 0: all of the tuning part
            "seed": 0,  # seed for the split and for the choice of images
            "strict": False,  # refuse a folder with broken images instead of skipping them
        }
    )


def transfer() -> ConfigDict:
    """The main job: tune a prompt on a few images, generate, score, report."""
    config = training(base("run"), steps=300, batch_size=32, learning_rate=0.01)
    # Learning rate of whatever else than the prompt is trained; 0: the prompt's.
    config.optimizer.backbone_learning_rate = 0.0
    config.task = "generation"  # what the run learns: a folder of maskgit_prompt/tasks/
    config.model = ""  # the kind of transformer: "masked" or "causal"; empty: the backbone's
    config.trainable = ("prompt/.*",)  # patterns of paths; first match wins; "!" in front freezes
    config.data = images()
    # Split that distances are measured to; empty: the held-out images.
    config.data.reference = ""
    config.data.codes = ""  # folder of codes files that runs share; empty: the workdir's own
    config.data.fractions = ConfigDict(
        {
            "tune": 0.3,  # share of each class that tuning images are chosen from
            "judge": 0.3,  # share of each class that trains the judge
            "test": 0.4,  # share of each class that generated images are scored against
        }
    )
    config.data.views = 1  # stored views of each image: the image, and views - 1 random crops
    config.data.crop = 0.125  # the most that a crop cuts off, as a share of the side
    config.data.flip = False  # mirror half of the crops
    config.prompt = ConfigDict(
        {
            "kind": "factorized",  # the prompt generator: "factorized", "table" or "additive"
            "tokens": 16,  # number of prompt tokens
            "deep": False,  # fresh prompt tokens at every layer
            "prefix": False,  # keys and values of every layer in place of tokens
            # Attention among prompt tokens of a causal transformer: "causal", or "both" ways.
            "attention": "causal",
            "instances": True,  # learn a prompt for every image, too, for the marquee header
            "embedding": 32,  # width of the tables; 0: the transformer's
            "dense": False,  # with "additive": a dense layer up to the transformer's width
            "factors": 1,  # with "factorized": number of factors
            "hidden": 0,  # with "factorized": hidden width of its MLP; 0: one dense layer
            "dropout": 0.0,  # dropout rate of prompt tokens in training
            "drop_class": 0.1,  # share of training examples without their class
            "drop_instance": 0.5,  # share of training examples without their instance
        }
    )
    config.masking = masking()
    config.next_code = next_code()
    config.train.epochs = 0.0  # above 0: times through the images, but no more than train.steps
    config.train.evaluate_every = 150  # steps between held-out losses; 0: only at the end
    config.train.show_every = 0  # steps between sheets of images in progress.html; 0: none
    config.train.remat = False  # recompute activations: a third of the memory, hardly more time
    config.sample = sampling()
    config.score = ConfigDict(
        {
            "per_class": 40,  # generated images per class
            # Above 0: generated images in all, with the class proportions of the reference images,
            # and no more than there are of these; 0: per_class decides.
            "images": 0,
            "most": 2000,  # limit on real images where cost grows with their square; 0: no limit
            "marquee_cutoffs": (0.1, 0.25, 0.5, 0.75, 1.0),  # cutoffs that are measured
            "marquee_images": 16,  # images per instance and cutoff; 0: no marquee
            "judge": "pixels",  # what the classifier sees: "pixels", or "features" as well
            "rounds": 8,  # masks per image for the losses
            "prompts": True,  # look at how the prompts of classes and images lie, and who sees them
            "saved": 10_000,  # the most generated images kept as PNG files; 0: none
        }
    )
    return config


def folder(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a config of the main job to a folder of images: PATH[,shots=5][,steps=300][,causal].

    Args:
      file: the config file's name, for messages.
    """
    config.data.name = "folder"
    config.data.shots = 0
    config.data.fractions = ConfigDict(FOLDER_FRACTIONS)
    path, *options = arg.split(",")
    for option in options:
        if option == "causal":
            causal(config)
            continue
        name, _, value = option.partition("=")
        if name not in FOLDER_OPTIONS or not value.isdecimal():
            raise UsageError(
                f"configs/{file}:{arg} has {option!r} after the path, expected "
                f"{', '.join(f'{name}=NUMBER' for name in FOLDER_OPTIONS)} or causal; set anything "
                "else as "
                "--config.KEY=VALUE, and with it a path that holds a comma: --config.data.path=PATH"
            )
        config.update_from_flattened_dict({FOLDER_OPTIONS[name]: int(value)})
    config.data.path = path
    return config


def options_of(parts: list[str], types: dict[str, type], where: str) -> dict[str, int | str]:
    """What stands as NAME=VALUE in a config file's argument.

    Args:
      types: name -> int, or str.
      where: the file and its argument, for messages.
    """
    found = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in types or (types[name] is int and not value.isdecimal()):
            expected = [f"{n}={'NUMBER' if t is int else n.upper()}" for n, t in types.items()]
            raise UsageError(
                f"{where} has {part!r}, expected {', '.join(expected)}; set anything else as "
                "--config.KEY=VALUE"
            )
        found[name] = types[name](value)
    return found


def published(config: ConfigDict, backbone: str) -> ConfigDict:
    """The settings of google-research/generative_transfer for MaskGIT's published models."""
    config.backbone = backbone
    config.seed = 42
    config.prompt.kind = "additive"
    config.prompt.tokens = 32
    config.prompt.embedding = 0
    config.prompt.dropout = 0.1
    config.prompt.drop_class = 0.0
    config.train.batch_size = 32
    config.train.steps = 3000  # the reference runs 100 epochs: 3,125 steps of 1,000 images
    config.train.evaluate_every = 500
    config.train.remat = True
    config.optimizer.learning_rate = 1e-3
    config.optimizer.clip = 0.0
    return config


def compare(config: ConfigDict) -> ConfigDict:
    """Turns a config of the main job into one of the comparison of methods."""
    from maskgit_prompt.tuning.methods import RATES

    config.job = "compare"
    # Each method is judged at its best held-out step, so that is looked for often, by fewer masks.
    config.train.evaluate_every = 30
    config.score.rounds = 2
    config.compare = ConfigDict(
        {
            "methods": ("prompt", "full", "scratch", "untuned"),  # ways to adapt the backbone
            "shots": (2, 5, 10),  # images per class; config.data.shots is not used
            # The transformer's rate with this method; prompts have config.optimizer.learning_rate.
            "learning_rates": RATES,
        }
    )
    return config


def causal(config: ConfigDict) -> ConfigDict:
    """Turns a config of the main job into one for a causal transformer."""
    config.model = "causal"
    config.update_from_flattened_dict(CAUSAL)
    return config


def side_by_side(config: ConfigDict) -> ConfigDict:
    """Turns a config of the main job into one that runs it on several backbones."""
    config.job = "side_by_side"
    config.models = ConfigDict(
        {
            "backbones": ("mini", "mini-causal"),  # backbones; config.backbone is not used
            "shots": (10, 5),  # images per class; config.data.shots is not used
        }
    )
    # What models with a causal transformer use in place of the main job's key.
    config.causal = ConfigDict({key.partition(".")[0]: {} for key in CAUSAL})
    for key, value in CAUSAL.items():
        section, _, name = key.partition(".")
        config.causal[section][name] = value
    return config


def sampling() -> ConfigDict:
    """How codes are decoded; docs/configuration.md says which keys need which transformer."""
    return ConfigDict(
        {
            # "plain"; with a masked transformer "entropy" or "remasking", with a causal one
            # "jacobi".
            "sampler": "plain",
            "entropy_bound": 8.0,  # with "entropy": nats that codes decided at once may share
            "remask": 0.1,  # with "remasking": share of decided codes that a step hides again
            "window": 16,  # with "jacobi": codes that one call of the transformer reads
            "steps": 12,  # number of decoding steps
            "schedule": "cosine",  # share of codes still masked; names as for masking.schedule
            # Which codes are kept first: "confidence", "halton", "halton-rolled" or "random".
            "order": "confidence",
            "choice_temperature": 4.5,  # temperature of the noise added to the confidence
            "temperature": 1.0,  # temperature of the codes; 0: always the most likely code
            "top_k": 0,  # draw only from the k most likely codes; 0: from all
            "top_p": 1.0,  # draw only from the likeliest codes of this probability; 1: from all
            "cutoff": 1.0,  # share of the decoding at which the marquee header has passed
            "power": 1.0,  # power of the marquee header's curve
            "guidance": 1.0,  # guidance scale s in u + s (c - u); 1: none
            # How the scale grows from 1: "constant", "linear", "cosine" or "power-cosine".
            "guidance_schedule": "constant",
            "guidance_power": 1.0,  # power of "power-cosine"
            "guidance_begin": 0.0,  # progress of the decoding at which guidance begins
            "guidance_end": 1.0,  # progress at which it ends
            "guidance_from": "prompt",  # u: the prompt without condition; "backbone": no prompt
            "batch_size": 64,  # images decoded at once
        }
    )


def sample() -> ConfigDict:
    """Images from a prompt file."""
    config = base("sample")
    config.prompt = ""  # the prompt.safetensors of a run
    config.classes = ()  # names of classes to draw; empty: all classes of the prompt
    config.num = 16  # images per class
    # Prompts that scroll past while an image is decoded. "class", "instance" and "instance-class"
    # are the image's own; "class:NAME", "instance:NAME" and "none" are the same for all images.
    config.header = ("class",)
    config.image = ""  # a picture that is kept in part; the rest is drawn anew
    # The part that is kept: "top", "bottom", "left", "right", or a box of rows and columns of codes
    # such as "0:4,2:8"; "outside 2:6,2:6" keeps all but that box.
    config.keep = "top"
    # None: as in the prompt file.
    config.sample = ConfigDict({name: placeholder(type(x)) for name, x in sampling().items()})
    return config


def import_weights() -> ConfigDict:
    """Other people's checkpoints to a backbone's folder, or to a prompt file."""
    return ConfigDict(
        {
            "job": "import_weights",  # the job to run: a file of maskgit_prompt/jobs/
            # The checkpoint: FILE, or FILE,FILE; an address, a published model's name, or a log
            # folder of Taming Transformers.
            "source": "",
            # "maskgit", "maskgit-torch", "taming", "inception"; of an encoder "vit-npz",
            # "vit-torch", "swin", "resnet", "convnext"; of an encoder-decoder "ofa"; not for a
            # published model.
            "format": "",
            "download": False,  # fetch a source that is not on this machine
            "name": "",  # the backbone's name; empty: the workdir's
            "store_dtype": "float32",  # dtype of the files; "float16" and "bfloat16" halve them
            "backbone": "",  # for a prompt: the backbone that it was tuned on
            "image_size": 0,  # side of an image in pixels; 0: found out
            "codebook": 0,  # how many of a masked transformer's words are image codes; 0: found out
            # Number of heads of a causal transformer, or of an encoder of PyTorch; 0: found
            # out.
            "heads": 0,
            "classes": 0,  # number of labels that a causal transformer was trained with
            # Pixels that an encoder was trained on: "half" (mean and deviation 0.5), "imagenet", or
            # empty for what is usual with its format.
            "normalization": "",
            # For a checkpoint that holds both: "model" (those of the last step) or "ema" (averaged
            # ones); empty: "model".
            "weights": "",
        }
    )


def _of(file: str, name: str, *make: Callable[[], Any]) -> Callable[[], ConfigDict]:
    """What makes a config with a function of a file that begins with what is above.

    make: what makes the function's first arguments.
    """

    def config() -> ConfigDict:
        module = importlib.import_module(f"maskgit_prompt.config.{file}")
        return getattr(module, name)(*(one() for one in make))

    return config


# The keys and values that each job has before a config file or a flag changes them. Sizes of the
# pretraining job are its config file's.
JOBS: dict[str, Callable[[], ConfigDict]] = {
    "run": transfer,
    "classify": _of("classification", "classify"),
    "segment": _of("segmentation", "segment"),
    "masks": _of("segmentation", "masks"),
    "vtab": _of("named_data", "vtab", transfer, str, lambda: "vtab.py"),
    "vtab_folder": _of("named_data", "vtab_folder"),
    "side_by_side": lambda: side_by_side(transfer()),
    "compare": lambda: compare(transfer()),
    "sample": sample,
    "sample_study": _of("studies", "sample_study"),
    "evaluate": _of("evaluation", "evaluate"),
    "predict": _of("classification", "predict"),
    "robustness": _of("classification", "robustness"),
    "multimodal": _of("multimodal", "ask"),
    "answer": _of("multimodal", "answer"),
    "attack": _of("multimodal", "attack"),
    "sweep": _of("classification", "sweep"),
    "pretrain": _of("pretraining", "pretrain", lambda: "transformer"),
    "import_weights": import_weights,
}
# Jobs that the file of another carries out: the main job, whose config.task differs.
CARRIED_OUT_BY = {"classify": "run", "segment": "run", "multimodal": "run"}

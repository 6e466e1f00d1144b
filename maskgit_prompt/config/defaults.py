"""The defaults of every job; the files in configs/ change what is theirs.

Nothing that takes time is imported here, so that --help stays fast.
"""

from collections.abc import Callable

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
            "job": job,  # what is run: a file of maskgit_prompt/jobs/
            "seed": 0,  # of weights, batches, masks and samples
            # An embedded model's name, or a backbone's folder; empty: the embedded one.
            "backbone": "",
            "dtype": "float32",  # of activations; "bfloat16" on accelerators
            "attention": "auto",  # or "xla", "cudnn", "tokamax": how transformers compute it
            # Devices along which batches, weights, and heads are split; -1: all that remain.
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
        }
    )


def training(
    config: ConfigDict, *, steps: int, batch_size: int, learning_rate: float
) -> ConfigDict:
    """Adds what every job that trains has."""
    config.train = ConfigDict(
        {
            "steps": steps,  # of the optimizer
            "batch_size": batch_size,  # of all devices together
            "micro_batches": 1,  # gradient accumulation: pieces that a batch is run in
            "ema_decay": 0.0,  # of an average of the trained parameters; 0: none is kept
            "log_every": 10,  # steps between lines of metrics
            "save_every": 200,  # steps between checkpoints
            "tensorboard": True,  # write TensorBoard events, too
        }
    )
    config.profile = ""  # "20:5": a profiler's trace of the five steps after step 20
    config.optimizer = ConfigDict(
        {
            "name": "adamw",  # or "sgd"
            "learning_rate": learning_rate,  # the highest; it falls to 0 along half a cosine
            "warmup_steps": 0,  # from 0 up to the learning rate
            "rates": (),  # learning rates by path, first match wins: "transformer/.*=1e-4"
            "decays": (),  # weight decays by path, in the same way
            "momentum": 0.9,  # of sgd
            "nesterov": False,  # of sgd's momentum
            "b1": 0.9,  # of adamw
            "b2": 0.96,  # of adamw
            "eps": 1e-8,  # of adamw
            "weight_decay": 0.0,  # of what no pattern of decays matches
            "clip": 1.0,  # of the gradient's global norm; 0: none
        }
    )
    return config


def masking() -> ConfigDict:
    """How codes are hidden in training."""
    return ConfigDict(
        {
            "schedule": "cosine",  # share of hidden codes; or "linear", "uniform", "pow2", …
            "shared": False,  # one share for the whole batch, not one for each image
            "smoothing": 0.1,  # label smoothing of the loss
            "drop_class": 0.0,  # share of examples without their class, in pretraining
        }
    )


def next_code() -> ConfigDict:
    """How a causal transformer is trained."""
    return ConfigDict(
        {
            "keep": 1.0,  # share of input codes that stay; the others become random ones
            "smoothing": 0.0,  # label smoothing of the loss
            "drop_class": 0.0,  # share of examples without their class, in pretraining
        }
    )


def transfer() -> ConfigDict:
    """The main job: tune a prompt on a few images, generate, score, report."""
    config = training(base("run"), steps=300, batch_size=32, learning_rate=0.01)
    config.optimizer.backbone_learning_rate = 0.0  # of what is not the prompt; 0: the same
    config.task = "generation"  # what is learned: a room of maskgit_prompt/tasks/
    config.model = ""  # "masked" or "causal"; empty: what the backbone has
    config.trainable = ("prompt/.*",)  # path patterns; "!" in front freezes; first match wins
    config.data = ConfigDict(
        {
            "name": "digits",  # or "twemoji", "folder", "tfds", "vtab"
            "path": "",  # of the folder, or of a zip or tar archive
            "csv": "",  # path of a table file,class; empty: labels.csv of the folder, if there
            "dataset": "",  # of TFDS, as "imagenet2012" or "eurosat/rgb:2.*.*"
            "label": "label",  # what it calls its class
            "task": "",  # of VTAB
            "data_dir": "",  # of prepared data; empty: $TFDS_DATA_DIR, or ~/tensorflow_datasets
            "download": False,  # what is not prepared
            "split": "train",  # tuned on: a TFDS slice, or with VTAB one of its splits
            "test": "test",  # half of it trains the judge, half is held out
            "reference": "",  # distances are to it; empty: what is held out
            "classes": (),  # names of classes to take, in this order; empty: all
            # The middle square of an image; "resize": all of it, straight; "pad": all of it, with
            # bars in the colour of its edge.
            "fit": "crop",
            "full_scale": 0.0,  # which value of more than 8 bits is white; 0: as the files say
            "max_pixels": 300_000_000,  # larger images are skipped, and named
            "codes": "",  # a folder of codes files that runs share; empty: the workdir's own
            "shots": 10,  # images per class to tune on; 0: all of the tuning part
            "seed": 0,  # of the choice of images
            "strict": False,  # refuse a folder with broken images, instead of skipping them
            # Shares of each class: to tune on; to train the judge on; to score against.
            "fractions": {"tune": 0.3, "judge": 0.3, "test": 0.4},
            "views": 1,  # codes stored of each image: the image, and views - 1 crops and flips
            "crop": 0.125,  # most that a crop cuts off, as a share of the side
            "flip": False,  # mirror crops half of the time
        }
    )
    config.prompt = ConfigDict(
        {
            "kind": "factorized",  # or "table", "additive"
            "tokens": 16,  # prompt tokens
            "deep": False,  # fresh prompts at every layer
            "prefix": False,  # keys and values of every layer in place of tokens
            "attention": "causal",  # or "both": among tokens before a causal transformer
            "instances": True,  # learn a prompt of every image too, for the marquee header
            "embedding": 32,  # width of the tables; 0: the transformer's
            "dense": False,  # of "additive": a dense layer up to the transformer's width
            "factors": 1,  # of "factorized"
            "hidden": 0,  # of "factorized": hidden width of its MLP; 0: one dense layer
            "dropout": 0.0,  # on prompt tokens, in training
            "drop_class": 0.1,  # share of training examples without their class
            "drop_instance": 0.5,  # share of training examples without their instance
        }
    )
    config.masking = masking()
    config.next_code = next_code()
    config.train.epochs = 0.0  # above 0: times through the images, but no more than train.steps
    config.train.evaluate_every = 150  # held-out loss; 0: only at the end
    config.train.show_every = 0  # steps between sheets of images in progress.html; 0: none
    config.train.remat = False  # for large models: a third of the memory, hardly more time
    config.sample = sampling()
    config.score = ConfigDict(
        {
            "per_class": 40,  # generated images per class
            # Or in all, by the classes' shares among the reference images, and no more than these
            # are; 0: per_class decides.
            "images": 0,
            "most": 2000,  # real images of a part where cost grows with their square; 0: all
            "marquee_cutoffs": (0.1, 0.25, 0.5, 0.75, 1.0),  # of the header, each measured
            "marquee_images": 16,  # images an instance and cutoff; 0: no marquee
            "rounds": 8,  # masks drawn an image for the losses
            "saved": 10_000,  # generated images that are kept as PNG files, at most; 0: none
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
    options = _options(given, {"shots": int, "steps": int, "split": str}, f"configs/{file}:{arg}")
    config.steps = options.get("steps", 0)  # 0: as train.epochs and train.steps say
    config.data.shots = options.get("shots", 0)
    config.data.split = options.get("split", "train")
    return config


def few_shot(config: ConfigDict, arg: str, file: str) -> ConfigDict:
    """Turns a config of the main job to a named set: NAME[,shots=5][,steps=500][,path=FOLDER].

    Args:
      file: the config file's name, for messages.
    """
    from maskgit_prompt.data.sets import fewshot

    name, *rest = arg.split(",")
    found = fewshot.find(name)
    options = _options(rest, {"shots": int, "steps": int, "path": str}, f"configs/{file}:{arg}")
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


def _options(parts: list[str], types: dict[str, type], where: str) -> dict[str, int | str]:
    """What stands as NAME=VALUE in a config file's argument."""
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
            # The transformer's; prompts have config.optimizer.learning_rate with every method.
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
            "backbones": ("mini", "mini-causal"),  # config.backbone is not used
            "shots": (10, 5),  # images per class; config.data.shots is not used
        }
    )
    # What models with a causal transformer take; the others are as above.
    config.causal = ConfigDict({key.partition(".")[0]: {} for key in CAUSAL})
    for key, value in CAUSAL.items():
        section, _, name = key.partition(".")
        config.causal[section][name] = value
    return config


def sampling() -> ConfigDict:
    """How codes are decoded; the first four are for masked transformers alone."""
    return ConfigDict(
        {
            "steps": 12,  # decoding steps
            "schedule": "cosine",  # share of codes still masked; names as for masking.schedule
            "order": "confidence",  # or "halton", "halton-rolled", "random"
            "choice_temperature": 4.5,  # of the noise on the confidence
            "temperature": 1.0,  # 0: the best code always
            "top_k": 0,  # 0: all codes
            "top_p": 1.0,  # the best codes that together have this probability; 1: all
            "cutoff": 1.0,  # share of the way at which the marquee header has passed
            "power": 1.0,  # of the marquee header's way
            "guidance": 1.0,  # scale s of u + s (c - u); 1: none
            "guidance_schedule": "constant",  # or "linear", "cosine", "power-cosine"
            "guidance_power": 1.0,  # of "power-cosine"
            "guidance_from": "prompt",  # u: the prompt without condition; "backbone": no prompt
            "batch_size": 64,  # images decoded at once
        }
    )


def sample() -> ConfigDict:
    """Images from a prompt file."""
    config = base("sample")
    config.prompt = ""  # the prompt.safetensors of a run
    config.classes = ()  # names; empty: all classes of the prompt
    config.num = 16  # images per class
    # Prompts that scroll past while an image is decoded. "class", "instance" and "instance-class"
    # are the image's own; "class:NAME", "instance:NAME" and "none" are the same for all images.
    config.header = ("class",)
    config.image = ""  # a picture of which a part is kept
    # The part: "top", "bottom", "left", "right", or rows and columns of codes as in "0:4,2:8";
    # "outside 2:6,2:6" keeps all but that box.
    config.keep = "top"
    # What is not set is as the prompt file says.
    config.sample = ConfigDict({name: placeholder(type(x)) for name, x in sampling().items()})
    return config


def import_weights() -> ConfigDict:
    """Other people's checkpoints to a backbone's folder, or to a prompt file."""
    return ConfigDict(
        {
            "job": "import_weights",  # what is run: a file of maskgit_prompt/jobs/
            "source": "",  # FILE, or FILE,FILE; a folder of Taming Transformers' logs
            "format": "",  # "maskgit", "maskgit-torch" or "taming"
            "name": "",  # of the backbone; empty: the workdir's
            "store_dtype": "float32",  # "float16" and "bfloat16" halve the files
            "backbone": "",  # of a prompt: the backbone that it was tuned on
            # What files do not tell; 0: found out, or as the published models have it.
            "image_size": 0,
            "codebook": 0,  # image codes among a masked transformer's words
            "heads": 0,  # of a causal transformer
            "classes": 0,  # of a causal transformer
        }
    )


def _pretrain() -> ConfigDict:
    from maskgit_prompt.config.pretraining import pretrain  # which begins with what is above

    return pretrain("transformer")


# The keys and values that each job has before a config file or a flag changes them. Sizes of the
# pretraining job are its config file's.
JOBS: dict[str, Callable[[], ConfigDict]] = {
    "run": transfer,
    "vtab": lambda: vtab(transfer(), "", "vtab.py"),
    "side_by_side": lambda: side_by_side(transfer()),
    "compare": lambda: compare(transfer()),
    "sample": sample,
    "pretrain": _pretrain,
    "import_weights": import_weights,
}

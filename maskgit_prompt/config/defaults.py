"""The defaults of every job; the files in configs/ change what is theirs.

Nothing that takes time is imported here, so that --help stays fast.
"""

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
            "job": job,
            "seed": 0,
            # An embedded model's name, or a backbone's folder; empty: the embedded one.
            "backbone": "",
            "dtype": "float32",  # of activations; "bfloat16" on accelerators
            "attention": "auto",  # or "xla", "cudnn", "tokamax": how transformers compute it
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},  # -1: all devices that remain
        }
    )


def training(
    config: ConfigDict, *, steps: int, batch_size: int, learning_rate: float
) -> ConfigDict:
    """Adds what every job that trains has."""
    config.train = ConfigDict(
        {
            "steps": steps,
            "batch_size": batch_size,  # of all devices together
            "micro_batches": 1,  # gradient accumulation: pieces that a batch is run in
            "ema_decay": 0.0,  # 0: no average is kept
            "log_every": 10,
            "save_every": 200,
            "tensorboard": True,
        }
    )
    config.profile = ""  # "20:5": a profiler's trace of the five steps after step 20
    config.optimizer = ConfigDict(
        {
            "name": "adamw",  # or "sgd"
            "learning_rate": learning_rate,
            "warmup_steps": 0,
            # By path, first match wins, as "transformer/.*=1e-4"; the others go as this file says.
            "rates": (),
            "decays": (),
            "momentum": 0.9,  # of sgd
            "nesterov": False,
            "b1": 0.9,
            "b2": 0.96,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "clip": 1.0,  # of the gradient's global norm; 0: none
        }
    )
    return config


def masking() -> ConfigDict:
    """How codes are hidden in training."""
    return ConfigDict({"schedule": "cosine", "shared": False, "smoothing": 0.1, "drop_class": 0.0})


def next_code() -> ConfigDict:
    """How a causal transformer is trained."""
    return ConfigDict({"keep": 1.0, "smoothing": 0.0, "drop_class": 0.0})


def pretrain(stage: str) -> ConfigDict:
    """The pretraining job on synthetic images: stage "tokenizer", "transformer" or "features"."""
    config = base("pretrain")
    config.model = "masked"  # or "causal": what stage "transformer" makes
    config.trainable = (".*",)
    config.stage = stage
    config.backbone = ""  # the folder that the stage before wrote; the first stage has none
    config.name = "mini"
    config.store_dtype = "float32"
    config.data = ConfigDict({"num": 50_000, "seed": 0, "size": 32})
    config.masking = masking()
    config.next_code = next_code()
    return config


def transfer() -> ConfigDict:
    """The main job: tune a prompt on a few images, generate, score, report."""
    config = training(base("run"), steps=300, batch_size=32, learning_rate=0.01)
    config.optimizer.backbone_learning_rate = 0.0  # of what is not the prompt; 0: the same
    config.task = "generation"
    config.model = ""  # "masked" or "causal"; empty: what the backbone has
    config.trainable = ("prompt/.*",)  # path patterns; "!" in front freezes; first match wins
    config.data = ConfigDict(
        {
            "name": "digits",  # or "folder", "tfds", "vtab"
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
            "shots": 10,  # images a class to tune on; 0: all of the tuning part
            "seed": 0,  # of the choice of images
            "strict": False,  # refuse a folder with broken images, instead of skipping them
            # Shares of each class: to tune on; to train the judge on; to score against.
            "fractions": {"tune": 0.3, "judge": 0.3, "test": 0.4},
            "views": 1,  # codes stored of each image: the image, and views - 1 crops and flips
            "crop": 0.125,
            "flip": False,
        }
    )
    config.prompt = ConfigDict(
        {
            "kind": "factorized",  # or "table", "additive"
            "tokens": 16,
            "deep": False,  # fresh prompts at every layer
            "prefix": False,  # keys and values of every layer in place of tokens
            "attention": "causal",  # or "both": among tokens before a causal transformer
            "instances": True,  # learn a prompt of every image too, for the marquee header
            "embedding": 32,  # width of the tables; 0: the transformer's
            "dense": False,
            "factors": 1,
            "hidden": 0,
            "dropout": 0.0,
            "drop_class": 0.1,
            "drop_instance": 0.5,
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
            "per_class": 40,  # generated images a class
            # Or in all, by the classes' shares among the reference images, and no more than these
            # are; 0: per_class decides.
            "images": 0,
            "most": 2000,  # real images of a part where cost grows with their square; 0: all
            "marquee_cutoffs": (0.1, 0.25, 0.5, 0.75, 1.0),
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
    config.tasks = tuple(part for part in arg.split(",") if part and "=" not in part)
    # As google-research/generative_transfer: tuned on train, measured against all there is.
    config.data.name = "vtab"
    config.data.test, config.data.reference = "test", "all"
    config.prompt.instances = False  # a prompt an image would grow with the data set
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
            "methods": ("prompt", "full", "scratch", "untuned"),
            "shots": (2, 5, 10),  # images a class; config.data.shots is not used
            # Of the transformer; prompts have config.optimizer.learning_rate with every method.
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
            "shots": (10, 5),  # images a class; config.data.shots is not used
        }
    )
    # Of models with a causal transformer; the others are as above.
    config.causal = ConfigDict({key.partition(".")[0]: {} for key in CAUSAL})
    for key, value in CAUSAL.items():
        section, _, name = key.partition(".")
        config.causal[section][name] = value
    return config


def sampling() -> ConfigDict:
    """How codes are decoded; the first four are for masked transformers alone."""
    return ConfigDict(
        {
            "steps": 12,
            "schedule": "cosine",
            "order": "confidence",  # or "halton", "halton-rolled", "random"
            "choice_temperature": 4.5,  # of the noise on the confidence
            "temperature": 1.0,  # 0: the best code always
            "top_k": 0,  # 0: all codes
            "top_p": 1.0,
            "cutoff": 1.0,  # of the marquee header
            "power": 1.0,
            "guidance": 1.0,  # scale s of u + s (c - u); 1: none
            "guidance_schedule": "constant",
            "guidance_power": 1.0,
            "guidance_from": "prompt",  # u: the prompt without condition; "backbone": no prompt
            "batch_size": 64,  # images decoded at once
        }
    )


def sample() -> ConfigDict:
    """Images from a prompt file."""
    config = base("sample")
    config.prompt = ""  # the prompt.safetensors of a run
    config.classes = ()  # names; empty: all classes of the prompt
    config.num = 16  # images a class
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
            "job": "import_weights",
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

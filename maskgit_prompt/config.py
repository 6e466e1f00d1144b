"""The defaults of every job; the files in configs/ change what is theirs.

Nothing but ml_collections is imported here, so that --help stays fast.
"""

from ml_collections import ConfigDict


def base(job: str) -> ConfigDict:
    """What every job has."""
    return ConfigDict(
        {
            "job": job,
            "seed": 0,
            "source": "mini",  # an embedded model's name or a source model's folder
            "dtype": "float32",  # of activations; "bfloat16" on accelerators
            "mesh": {"data": -1, "fsdp": 1, "tensor": 1},  # -1: all devices that remain
        }
    )


def training(config: ConfigDict, *, steps: int, batch_size: int, learning_rate: float) -> ConfigDict:
    """Adds what every job that trains has."""
    config.train = ConfigDict(
        {
            "steps": steps,
            "batch_size": batch_size,  # of all devices together
            "micro_batches": 1,  # gradient accumulation: parts that a batch is run in
            "ema_decay": 0.0,  # 0: no average is kept
            "log_every": 10,
            "save_every": 200,
            "tensorboard": True,
        }
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": learning_rate,
            "warmup_steps": 0,
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


def pretrain(stage: str) -> ConfigDict:
    """The pretraining job on synthetic images: stage "tokenizer", "transformer" or "features"."""
    config = base("pretrain")
    config.stage = stage
    config.source = ""  # the folder that the stage before wrote; the first stage has none
    config.name = "mini"
    config.store_dtype = "float32"
    config.data = ConfigDict({"num": 50_000, "seed": 0, "size": 32})
    config.masking = masking()
    return config

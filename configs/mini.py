"""How the embedded backbone `mini` was made: three stages, on images that the package draws.

    python -m maskgit_prompt.main --config=configs/mini.py:tokenizer --workdir=runs/mini/1
    python -m maskgit_prompt.main --config=configs/mini.py:transformer --workdir=runs/mini/2 \\
        --config.backbone=runs/mini/1/backbone
    python -m maskgit_prompt.main --config=configs/mini.py:features --workdir=runs/mini/3 \\
        --config.backbone=runs/mini/2/backbone

Each stage copies the parts of the stage before and adds its own; the last folder is the model.
`mini-causal` is `mini` with a causal transformer in place of the masked one:

    python -m maskgit_prompt.main --config=configs/mini.py:causal --workdir=runs/mini-causal

Machine, hours and figures are in docs/mini.md.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(stage: str = "tokenizer") -> ConfigDict:
    config = defaults.pretrain("transformer" if stage == "causal" else stage)
    config.store_dtype = "float16"
    config.data.heldout = 0.0  # scored on other seeds
    if stage == "tokenizer":
        config.train.steps, config.train.batch_size = 4_500, 32
        config.data.num = 144_000
        config.tokenizer = ConfigDict(
            {
                "image_size": 32,
                "codebook": 512,
                "embedding": 16,
                "filters": 32,
                "multipliers": (1, 1, 2),
                "blocks": 1,
                "groups": 8,
                "shortcut": "input",
            }
        )
    elif stage in ("transformer", "causal"):
        config.train.steps, config.train.batch_size = 5_000, 64
        config.data.num = 160_000
        config.optimizer.weight_decay = 0.02
        objective = config.next_code if stage == "causal" else config.masking
        objective.drop_class = 0.1
        config.transformer = ConfigDict(
            {"width": 192, "layers": 5, "heads": 4, "mlp": 576, "dropout": 0.0}
        )
    elif stage == "features":
        config.train.steps, config.train.batch_size = 3_000, 64
        config.data.num = 100_000
        config.data.seed = 7
        config.features = ConfigDict({"image_size": 32, "width": 32, "stages": 3, "groups": 8})
    else:
        raise ValueError(f"stage {stage!r}, expected tokenizer, transformer, causal or features")
    if stage == "causal":
        config.model, config.name, config.backbone = "causal", "mini-causal", "mini"
    config.optimizer.warmup_steps = 200
    config.train.ema_decay = 0.999
    config.train.log_every = 50
    config.train.save_every = 500
    return config

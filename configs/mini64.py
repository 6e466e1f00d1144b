"""How the embedded backbones `mini64` and `mini-vit` are made: 64 x 64 pixels, on pictures.

    python benchmarks/pictures.py source pictures
    python -m maskgit_prompt.main --config=configs/mini64.py:tokenizer,pictures \\
        --workdir=runs/mini64/1
    python -m maskgit_prompt.main --config=configs/mini64.py:more,pictures \\
        --workdir=runs/mini64/1b --config.backbone=runs/mini64/1/backbone
    python -m maskgit_prompt.main --config=configs/mini64.py:transformer,pictures \\
        --workdir=runs/mini64/2 --config.backbone=runs/mini64/1b/backbone
    python -m maskgit_prompt.main --config=configs/mini64.py:features,pictures \\
        --workdir=runs/mini64/3 --config.backbone=runs/mini64/2/backbone
    python -m maskgit_prompt.main --config=configs/mini64.py:encoder,pictures \\
        --workdir=runs/mini-vit

`:more` trains the tokenizer further, with a codebook of moving averages. `:causal` in place of
`:transformer` trains a causal transformer. Each stage copies the parts of the stage before and adds
its own; the last folder is the model. `:encoder` trains `mini-vit`, which classifiers stand on.
Where the pictures come from, hours and figures are in docs/mini.md.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults

STAGES = ("tokenizer", "more", "transformer", "causal", "features", "encoder")
SETS = ("noto", "fluent", "clipart", "photos")
WEIGHTS = (3.0, 3.0, 3.0, 2.0, 1.0)


def get_config(argument: str = "tokenizer,pictures") -> ConfigDict:
    stage, _, pictures = argument.partition(",")
    pictures = pictures or "pictures"
    part = {"causal": "transformer", "more": "tokenizer"}.get(stage, stage)
    config = defaults.pretrain(part)
    config.name = {"causal": "mini64-causal", "encoder": "mini-vit"}.get(stage, "mini64")
    config.store_dtype = "float16"
    config.data.sets = (*(f"{pictures}/{name}" for name in SETS), "drawn")
    config.data.weights = WEIGHTS
    config.data.photographs = (f"{pictures}/photos",)
    config.data.flips = (f"{pictures}/photos", f"{pictures}/fluent", f"{pictures}/noto")
    config.data.num = 20_000
    config.data.size = 64
    config.data.fit = "pad"
    config.data.zoom = (0.75, 1.15)
    config.data.grounds = (0.4, 0.1, 0.3, 0.2)
    config.optimizer.warmup_steps = 200
    config.train.ema_decay = 0.998
    config.train.log_every = 50
    config.train.save_every = 250
    if part in ("tokenizer", "transformer"):
        config.train.show_every = 500
    if part == "tokenizer":
        config.train.steps, config.train.batch_size = 5_000, 32
        # Figures are PSNRs, so squares count; |x - y| alone leaves edges soft.
        config.reconstruction.l2 = 5.0
        if stage == "more":
            # The first stage leaves two thirds of the codes unused.
            config.initial_weights = "backbone"
            config.optimizer.learning_rate = 7e-4
            config.quantizer.ema, config.quantizer.revive = 0.99, 0.01
            config.quantizer.entropy = 0.0
        config.tokenizer = ConfigDict(
            {
                "image_size": 64,
                "codebook": 1024,
                "embedding": 32,
                "filters": 32,
                "multipliers": (1, 1, 2, 2),
                "blocks": 1,
                "groups": 8,
                "shortcut": "input",
            }
        )
    elif part == "transformer":
        config.train.remat = True
        config.train.steps, config.train.batch_size = 5_000, 64
        config.model = "causal" if stage == "causal" else "masked"
        config.optimizer.weight_decay = 0.02
        config.data.views = 7
        objective = config.next_code if stage == "causal" else config.masking
        objective.drop_class = 0.1
        config.transformer = ConfigDict(
            {"width": 192, "layers": 6, "heads": 4, "mlp": 768, "dropout": 0.1}
        )
    elif stage == "features":
        config.train.steps, config.train.batch_size = 6_000, 64
        config.features = ConfigDict({"image_size": 64, "width": 32, "stages": 4, "groups": 8})
    elif stage == "encoder":
        config.train.remat = True
        config.train.steps, config.train.batch_size = 6_000, 64
        config.optimizer.weight_decay = 0.05
        config.encoder = ConfigDict({"patch": 8, "width": 192, "layers": 6, "heads": 3, "mlp": 768})
    else:
        raise ValueError(f"stage {stage!r}, expected {', '.join(STAGES)}")
    return config

"""How the embedded backbone `mini-ofa` was made: an encoder-decoder on drawn scenes.

    python -m maskgit_prompt.main --config=configs/mini_ofa.py --workdir=runs/mini-ofa

Captions and colours in German are tasks it does not see; it reads their words in texts without
pictures. Machine, hours and figures are in docs/mini.md.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    config = defaults.pretrain("multimodal")
    config.name, config.store_dtype = "mini-ofa", "float16"
    config.train.steps, config.train.batch_size = 12_000, 32
    config.data.num, config.data.size = 1_000_000, 64
    config.scenes.tasks = ("caption-terse", *config.scenes.tasks)
    config.scenes.texts = ("caption-german", "colour-german")
    # Captions and boxes take the most learning.
    config.scenes.weights = (2, 3, 1, 1, 1, 1, 1, 2, 1, 0.7, 0.2)
    config.scenes.ease = 3_000
    config.multimodal = ConfigDict(
        {
            "width": 144,
            "layers": (2, 2),
            "heads": (4, 4),
            "mlp": (432, 432),
            "stem": (1, 1, 1),
            "stem_width": 24,
            "positions": 64,
            "buckets": 16,
            "side": 8,
            "window": 2,
        }
    )
    config.optimizer.warmup_steps = 300
    config.optimizer.weight_decay = 0.02
    config.train.ema_decay = 0.998
    config.train.log_every = 50
    config.train.save_every = 500
    config.score.most = 128
    return config

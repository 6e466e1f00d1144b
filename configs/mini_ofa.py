"""How the embedded backbone `mini-ofa` is made: a small encoder-decoder, on drawn scenes.

    python -m maskgit_prompt.main --config=configs/mini_ofa.py --workdir=runs/mini-ofa

It is never asked how many things there are, nor for colours in German: tasks for a prefix to
learn. Time, figures and what was tried are in docs/mini.md.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config() -> ConfigDict:
    config = defaults.pretrain("multimodal")
    config.name, config.store_dtype = "mini-ofa", "float16"
    config.train.steps, config.train.batch_size = 12_000, 32
    config.data.num, config.data.size = 1_000_000, 64
    # Task -> how often: captions, boxes and shapes take the most learning.
    shares = {
        "caption": 2.0,
        "caption-terse": 2.0,
        "caption-german": 1.5,
        "colour": 1.0,
        "shape": 1.5,
        "presence": 0.7,
        "place": 0.7,
        "refer": 2.0,
        "entail": 0.8,
    }
    config.scenes.tasks, config.scenes.weights = tuple(shares), tuple(shares.values())
    config.scenes.ease = 2_000
    config.scenes.cells = 1.0
    config.multimodal = ConfigDict(
        {
            "width": 144,
            "layers": (2, 2),
            "heads": (4, 4),
            "mlp": (432, 432),
            "stem": (1, 1, 2),
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

"""Prompt tuning of the embedded model `mini64` on emoji of a style that it has never seen.

    make quickstart
    python -m maskgit_prompt.main --config=configs/quickstart.py --workdir=runs/quickstart
    python -m maskgit_prompt.main --config=configs/quickstart.py:full --workdir=runs/full
    python -m maskgit_prompt.main --config=configs/quickstart.py:compare --workdir=runs/compare
    python -m maskgit_prompt.main --config=configs/quickstart.py:digits --workdir=runs/digits
    python -m maskgit_prompt.main --config=configs/quickstart.py:digits,mini-causal --workdir=...
    python -m maskgit_prompt.main --config=configs/quickstart.py:digits,causal --workdir=runs/causal

The images are ten classes of Twemoji, up to twenty images of each. With "digits" they are
scikit-learn's handwritten digits, ten of each, and the model is `mini`. With "full" all of the
tuning part is used; with "compare" prompt tuning stands beside training from scratch, full
fine-tuning and no tuning; with "digits,mini-causal" the model is the causal transformer
`mini-causal`, and with "digits,causal" it and `mini` run side by side, with ten and with five
images of each class.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(variant: str = "") -> ConfigDict:
    images, _, change = variant.partition(",")
    found = _digits(change) if images == "digits" else _twemoji(variant)
    if found is None:
        raise ValueError(
            f"configs/quickstart.py:{variant}, expected :full, :compare, :digits, :digits,full, "
            ":digits,compare, :digits,mini-causal or :digits,causal"
        )
    return found


def _twemoji(change: str) -> ConfigDict | None:
    config = defaults.on_mini64(defaults.transfer())
    config.data.name = "twemoji"
    config.data.fractions = {"tune": 0.5, "judge": 0.3, "test": 0.2}
    config.train.steps = 400
    config.score.marquee_images = 8
    if change == "compare":
        defaults.compare(config)
        config.compare.shots = (2, 5, 10, 20)
    elif change in ("", "full"):
        config.data.shots = 0 if change else 20
    else:
        return None
    return config


def _digits(change: str) -> ConfigDict | None:
    config = defaults.transfer()
    if change == "causal":
        return defaults.side_by_side(config)
    if change == "mini-causal":
        return defaults.causal(config)
    config.backbone = "mini"
    if change == "compare":
        defaults.compare(config)
    elif change == "full":
        config.data.shots = 0
    elif change:
        return None
    return config

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
    config = defaults.transfer()
    first, _, rest = variant.partition(",")
    digits = first == "digits"
    change = rest if digits else variant
    if digits:
        config.backbone = "" if change in ("mini-causal", "causal") else "mini"
    else:
        defaults.on_mini64(config)
        config.data.name = "twemoji"
        config.data.fractions = {"tune": 0.5, "judge": 0.3, "test": 0.2}
        config.train.steps = 400
        config.score.marquee_images = 8
    if change == "full":
        config.data.shots = 0
    elif change == "compare":
        defaults.compare(config)
        config.compare.shots = (2, 5, 10) if digits else (2, 5, 10, 20)
    elif not digits and not change:
        config.data.shots = 20
    elif digits and change == "mini-causal":
        defaults.causal(config)
    elif digits and change == "causal":
        defaults.side_by_side(config)
    elif change:
        raise ValueError(
            f"configs/quickstart.py:{variant}, expected :full, :compare, :digits, :digits,full, "
            ":digits,compare, :digits,mini-causal or :digits,causal"
        )
    return config

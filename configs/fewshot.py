"""A few images per class of a named set: NAME[,shots=5][,steps=500][,path=FOLDER].

    python -m maskgit_prompt.main --config=configs/fewshot.py:imagenette,shots=5 --workdir=runs/few
    python -m maskgit_prompt.main --config=configs/fewshot.py:places,shots=5 --workdir=...
    python -m maskgit_prompt.main --config=configs/fewshot.py:animal-faces,path=afhq/train \\
        --workdir=...

Sets: imagenette and imagewoof (ten classes of ImageNet each), places (five of Places365),
animal-faces (AFHQ: cat, dog, wild). Without path they are what TFDS has prepared; with path, a
folder with one subfolder per class. AFHQ is always a folder. Other classes:
--config.data.classes=NAME, once for each.

The choice of images depends only on (data.seed, class); WORKDIR/chosen.csv lists them. Each image
has a prompt of its own for the marquee header. The backbone and its settings are those of
configs/imagenet256.py; the 500 steps are ours.

Not run: none of the sets can be fetched where this was written. The same code was run on small data
in TFDS's format.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.published(defaults.transfer(), "maskgit-imagenet256")
    return defaults.few_shot(config, arg, "fewshot.py")

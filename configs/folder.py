"""The main job on a folder: PATH/CLASS/*.png|jpg|webp, or a flat folder as one class.

PATH may be a zip or tar archive. Classes are the folders' names, unless PATH/classes.txt, a table
of files and classes (PATH/labels.csv or --config.data.csv) or --config.data.classes says otherwise;
see docs/own_images.md. The run prints what it found before it tunes.

    python -m maskgit_prompt.main --config=configs/folder.py:photos --workdir=runs/photos
    python -m maskgit_prompt.main --config=configs/folder.py:photos,shots=5,steps=300 --workdir=...
    python -m maskgit_prompt.main --config=configs/folder.py:photos,causal --workdir=...

The prompt is tuned on 60 % of the images of each class, 20 % train the classifier that reads the
generated ones, and 20 % are scored against. With one class there is no classifier, and 80 % are
tuned on. `shots` takes only that many of the first part (0, the default, takes all). Any number of
images will do, even one: scores that need more are left out, and the report says why. Images are
cropped to their middle square and resized to the backbone's size. Files that are not a whole image
are skipped and named; --config.data.strict=true refuses them.

Not run: what quality to expect depends on the folder.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    config = defaults.folder(defaults.transfer(), arg, "folder.py")
    return config if config.model == "causal" else defaults.on_mini64(config)

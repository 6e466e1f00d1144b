"""The main job on a folder of images: PATH/CLASS/*.png|jpg|webp, or a flat folder as one class.

PATH may be a zip or tar archive. Classes are the folders' names, or as PATH/classes.txt, a table of
files and classes (PATH/labels.csv or --config.data.csv) and --config.data.classes say; see
docs/own_images.md. What was found is printed before anything is tuned.

    python -m maskgit_prompt.main --config=configs/folder.py:photos --workdir=runs/photos
    python -m maskgit_prompt.main --config=configs/folder.py:photos,shots=5,steps=300 --workdir=...
    python -m maskgit_prompt.main --config=configs/folder.py:photos,causal --workdir=...

60 % of each class's images are tuned on, 20 % train the classifier that reads the generated ones,
and 20 % are scored against; `shots` takes that many of the first part (0, the default: all). With
one class there is no classifier, and 80 % are tuned on. Any number of images will do, even one:
scores for which there are too few are left out, and the report says why. Images are cut to their
middle square and resized to the backbone's size. Files that are not whole images are skipped and
named; --strict refuses them.

Not run: what quality to expect depends on the folder.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.folder(defaults.transfer(), arg, "folder.py")

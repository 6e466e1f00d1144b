"""VTAB-1k from TFDS's prepared data as a folder of lossless PNG files and lists.

    python -m maskgit_prompt.main --config=configs/vtab_folder.py --workdir=data/vtab-1k
    python -m maskgit_prompt.main --config=configs/vtab_folder.py:svhn,structured \\
        --workdir=data/vtab-1k

For each task the workdir gets a folder with train800.txt, val200.txt, train800val200.txt, test.txt,
classes.txt and the images, under the names that papers use. configs/vpt_vtab.py:folder=data/vtab-1k
reads it. Tasks that are written are kept when the job starts again.

Not run on the data sets themselves, which no machine of ours has.
"""

from ml_collections import ConfigDict

from maskgit_prompt import config as defaults


def get_config(arg: str = "") -> ConfigDict:
    return defaults.vtab_folder(arg)

"""What lies in folders of images without being one: of tools, of storage boxes, of our own runs."""

import re
from collections.abc import Collection

HIDDEN = "hidden"
TOOLS = "of tools or storage"
WORKDIR = "workdirs of earlier runs"

# In lower case. Names that begin with a dot are hidden anyway: .thumbnails, .ipynb_checkpoints, the
# ._x.png that macOS writes beside x.png.
_FOLDERS = {
    *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("lost+found", "found.000", "__pycache__", "node_modules", "cvs"),
    *("thumbnails", "resource.frk", "wandb"),
    *("_vti_cnf", "_vti_pvt", "ipod photo cache"),
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharesnap", "@__thumb"),
    *("#recycle", "#snapshot", "$recycle.bin", "$winreagent", "$extend", "recycler", "recycled"),
    *("system volume information", "msocache", "_gsdata_", "~snapshot", "lightroom previews"),
}
_FILES = {
    *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
    *("zbthumbnail.info", "picasa.ini", "folder.ini", "icon\r"),
}
_SUFFIXES = (".lrdata", ".photoslibrary", ".aplibrary")  # folders of programs for photographs

# A workdir has its config and at least one of these.
CONFIG = "config.json"
OF_RUNS = {
    *("checkpoints", "results.json", "images.json", "metrics.jsonl", "prompt.safetensors"),
    *("samples.json", "report.html"),
}


def why_left_out(name: str) -> str | None:
    """Why a file or folder of this name is not looked at; None: it is.

    "@eaDir" and "Thumbs.db" are of tools, "._a.png" is hidden, "cat" and "a.png" are looked at.
    """
    if name.startswith("."):
        return HIDDEN
    lower = name.lower()
    found = lower in _FOLDERS or lower in _FILES or lower.endswith(_SUFFIXES)
    return TOOLS if found else None


def is_workdir(names: Collection[str]) -> bool:
    """Whether a folder with files and folders of these names is the workdir of a run."""
    return CONFIG in names and not OF_RUNS.isdisjoint(names)


# --- Parts of a data set -------------------------------------------------------------------------

_PARTS = {
    *("train", "training", "trn", "val", "valid", "validation", "validate", "dev"),
    *("development", "eval", "evaluation", "test", "testing", "tst", "holdout", "heldout"),
    *("pred", "prediction", "predict", "query", "gallery", "unlabeled", "unlabelled"),
}
_BESIDE = {
    *("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "photo", "photos"),
    *("picture", "pictures", "pics", "split", "part", "fold", "seg", "folder", "dir", "samples"),
    *("a", "b", "x", "full", "small", "large", "all", "raw", "final", "new"),
}
_JOINED = ("set", "sets", "data", "dataset", "images", "imgs", "img", "split")  # as in "trainset"


def is_part(folder: str) -> bool:
    """Whether a folder's name is that of a part of a data set: "train", "Test_Set", "val2017".

    A word for a part, and beside it nothing but words for images and sets, in any spelling;
    "training shoes" and "trains" are classes.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)  # testSet
    words = re.findall(r"[^\W\d_]+", spaced.lower())
    parts = [word for word in words if _is_part_word(word)]
    if {"held", "out"} <= set(words) or {"hold", "out"} <= set(words):
        return set(words) <= {"held", "hold", "out"} | _BESIDE
    return bool(parts) and all(word in parts or word in _BESIDE for word in words)


def is_fold(folder: str) -> bool:
    """Whether a folder is called like a part for cross-validation: "fold1", "split_2", "cv-fold 3".
    Such parts hold classes, but classes may be called so, too."""
    return re.fullmatch(r"(cv[\W_]*)?(fold|split)[\W_]*\d+", folder.lower()) is not None


def _is_part_word(word: str) -> bool:
    return word in _PARTS or any(
        word.endswith(joined) and word.removesuffix(joined) in _PARTS for joined in _JOINED
    )

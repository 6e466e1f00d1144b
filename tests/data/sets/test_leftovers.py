"""What lies in folders of images without being one, and names of parts of data sets."""

import pytest

from maskgit_prompt.data.sets.leftovers import HIDDEN, TOOLS, is_part, is_workdir, why_left_out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *(
            (name, TOOLS)
            for name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle", "Thumbs.db")
        ),
        *((name, TOOLS) for name in ("System Volume Information", "lost+found", "desktop.ini")),
        *((name, TOOLS) for name in ("__pycache__", "@Recycle", "Recycler", "2020.lrdata")),
        *((name, HIDDEN) for name in (".thumbnails", ".ipynb_checkpoints", "._x.png", ".git")),
        *((name, None) for name in ("cat", "#cats", "@home", "$100", "lost", "thumbs", "a.png")),
    ],
)
def test_folders_and_files_of_tools_are_known(name, why):
    assert why_left_out(name) == why


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"config.json", "checkpoints"}, True),
        ({"config.json", "results.json", "samples"}, True),
        ({"config.json", "images.json", "codes"}, True),  # one that was stopped early
        ({"config.json", "samples.json", "images"}, True),  # of the sample job
        ({"config.json", "a.png"}, False),
        ({"checkpoints", "results.json"}, False),
        (set(), False),
    ],
)
def test_a_workdir_is_known_by_its_own_files(names, found):
    assert is_workdir(names) == found


PARTS = (
    *("train", "Training", "TRAINING_SET", "training-set", "trainset", "TrainSet", "train2017"),
    *("val", "valid", "Validation", "validation_set", "val_images", "dev", "devset"),
    *("eval", "evaluation", "test", "testing", "test_set", "Test Images", "imgs_test", "seg_train"),
    *(
        "train_data",
        "split_train",
        "held_out",
        "held-out",
        "holdout",
        "seg_pred",
        "testData",
        "x_test",
    ),
)
CLASSES = (
    *("cat", "trains", "train station", "training shoes", "protest", "devon", "valley", "tested"),
    *("images", "set", "2017", "contest", "eva", "Testudo", "data", "valid ticket", "dev team"),
)


@pytest.mark.parametrize("name", PARTS)
def test_every_spelling_of_a_part_is_one(name):
    assert is_part(name)


@pytest.mark.parametrize("name", CLASSES)
def test_other_names_are_those_of_classes(name):
    assert not is_part(name)

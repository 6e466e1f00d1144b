"""Which class an image has: folders, classes.txt, a CSV, a choice of classes."""

import numpy as np
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.data import loading
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import places
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UsageError, UserError
from tests.data.pictures import save


@pytest.fixture
def pets(tmp_path):
    """cat/0.png, cat/1.png, cow/0.png, dog/0.png; red is 0, 1, 2, 3."""
    for red, name in enumerate(("cat/0.png", "cat/1.png", "cow/0.png", "dog/0.png")):
        save(tmp_path / "pets" / name, (red, 200, 0))
    return tmp_path / "pets"


def pairs(images):
    """File and class name of each image."""
    return dict(zip(images.ids, (images.classes[c] for c in images.labels), strict=True))


def refused(path, error, match, **options):
    with pytest.raises(error, match=match) as found:
        image_folder(path, Preprocessing(8), **options)
    assert "\n" not in str(found.value)


def test_images_are_in_the_order_of_their_names_however_they_are_labelled(pets):
    before = image_folder(pets, Preprocessing(8))
    assert before.classes == ("cat", "cow", "dog") and before.labels.tolist() == [0, 0, 1, 2]
    (pets / "classes.txt").write_text("dog\ncat\tkitten\ncow\n")
    after = image_folder(pets, Preprocessing(8))
    assert after.classes == ("dog", "kitten", "cow") and after.labels.tolist() == [1, 1, 2, 0]
    # Labels are no part of the fingerprint: other ones cost no new codes.
    assert after.ids == before.ids and after.fingerprint == before.fingerprint


# classes.txt.


def test_folders_that_classes_txt_does_not_list_are_left_out(pets, warnings):
    (pets / "classes.txt").write_bytes(b"\xef\xbb\xbfdog\r\n\r\ncat\r\n")  # BOM, Windows' line ends
    images = image_folder(pets, Preprocessing(8))
    assert images.classes == ("dog", "cat") and images.ids == (
        "cat/0.png",
        "cat/1.png",
        "dog/0.png",
    )
    assert warnings == [f"left out 1 of 3 classes in {pets} that classes.txt does not name: cow"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("cat\ncaw\n", r"classes\.txt, line 2: .*/pets has no class 'caw' \(did you mean 'cow'"),
        ("cat\ncow\ncat\n", r"line 3: 'cat' for the second time"),
        ("cat\tpet\ncow\tpet\n", r"line 2: 'pet' for the second time, .* another name"),
    ],
)
def test_a_classes_txt_that_does_not_fit(text, match, pets):
    (pets / "classes.txt").write_text(text)
    refused(pets, UserError, match)


def test_a_classes_txt_in_another_encoding(pets):
    (pets / "classes.txt").write_bytes(b"cat\n\x81")
    refused(pets, UserError, r"classes\.txt is not UTF-8 at byte 4: save it")


# A CSV.


def test_a_table_gives_classes_to_files(pets, tmp_path, warnings):
    table = tmp_path / "elsewhere.csv"
    table.write_bytes(b'\xef\xbb\xbffile,class\r\ncow/0.png,"large, calm"\r\ncat/1.png,agile\r\n')
    images = image_folder(pets, Preprocessing(8), csv=str(table))
    assert images.classes == ("agile", "large, calm")
    assert pairs(images) == {"cat/1.png": "agile", "cow/0.png": "large, calm"}
    assert images.pixels()[:, 0, 0, 0].tolist() == [1, 2]
    assert warnings == [
        f"left out 2 of 4 images in {pets} that {table} does not name, the first is cat/0.png"
    ]


def test_labels_csv_of_a_flat_folder_with_classes_txt(tmp_path, warnings):
    for i in range(3):
        save(tmp_path / "set" / f"{i}.png", (200, i, 0))
    (tmp_path / "set" / "labels.csv").write_text("file,class\n2.png,a\n1.png,b\n0.png,b\n")
    assert image_folder(tmp_path / "set", Preprocessing(8)).labels.tolist() == [1, 1, 0]
    (tmp_path / "set" / "classes.txt").write_text("b\tbee\na\tant\n")
    images = image_folder(tmp_path / "set", Preprocessing(8))
    assert images.classes == ("bee", "ant") and images.labels.tolist() == [0, 0, 1]
    assert image_folder(tmp_path / "set", Preprocessing(8), classes=["ant"]).ids == ("2.png",)
    assert warnings == []


def test_a_labels_csv_with_another_header_is_not_used(pets, warnings):
    (pets / "labels.csv").write_text("price,amount\n5,3\n")
    assert image_folder(pets, Preprocessing(8)).classes == ("cat", "cow", "dog")
    assert warnings == [
        f"{pets}/labels.csv begins with 'price,amount', expected 'file,class' or other headings "
        "for a column of files and one of classes: the file is not used"
    ]
    refused(
        pets,
        UserError,
        "begins with 'price,amount', expected 'file,class'",
        csv=str(pets / "labels.csv"),
    )


def test_a_file_that_a_table_gives_the_same_class_twice(pets):
    lines = [
        "file,class",
        "cat/0.png,a",
        "cat/0.png,a",
        "cat/1.png,b",
        "cow/0.png,b",
        "dog/0.png,b",
    ]
    (pets / "labels.csv").write_text("\n".join(lines))
    found = image_folder(pets, Preprocessing(8))
    assert pairs(found)["cat/0.png"] == "a" and len(found.ids) == 4


@pytest.mark.parametrize("text", ["image,cat,dog\n0.png,1,0\n", "# by me\nfile,class\n0.png,a\n"])
def test_a_labels_csv_of_a_flat_folder_that_is_not_understood(text, tmp_path):
    for i in range(3):
        save(tmp_path / "set" / f"{i}.png", (200, i, 0))
    (tmp_path / "set" / "labels.csv").write_text(text)
    refused(
        tmp_path / "set", UserError, "begins with .* as the first line: mend it, or give the file"
    )


def test_parts_in_a_table_and_the_column_of_classes_are_told(pets):
    lines = ["file,split,label", "cat/0.png,train,a", "cat/1.png,test,b", "dog/0.png,,a"]
    (pets / "labels.csv").write_text("\n".join(lines))
    found = image_folder(pets, Preprocessing(8))
    assert found.classes == ("a", "b")
    assert found.found.notes == (
        f"classes are those of {pets}/labels.csv, column 'label'",
        f"{pets}/labels.csv has parts of a data set in its column 'split' (test, train): the "
        "images of all are taken; leave lines out to take some",
    )


def test_an_empty_classes_txt(pets):
    (pets / "classes.txt").write_text("\n")
    refused(pets, UserError, "classes.txt is empty: add a line for each class, or take it away")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "file,class\ncat/0.png,x\npets/cat/1.png,x\ndog/9.png,y\n",
            r"names files that are not images in .*/pets: 2 of 3 files, the first is pets/cat/1\.",
        ),
        ("file,class\ncat/0.png\n", r"labels\.csv, line 2: 'cat/0\.png', expected a file and its"),
        ("file,class\ncat/0.png,\n", r"line 2: 'cat/0\.png,', expected a file and its class"),
        ("file,class\ncat/0.png,x\ncat/0.png,y\n", r"line 3: cat/0\.png for the second time"),
        ('file,class\n"cat/0.png,x\n', r"line 2: unexpected end of data; expected a CSV with quot"),
        ("file,class\n", r"labels\.csv names no files"),
    ],
)
def test_a_table_that_does_not_fit(text, match, pets):
    (pets / "labels.csv").write_text(text)
    refused(pets, UserError, match)


def test_a_table_that_is_not_there(pets):
    match = r"config\.data\.csv = no\.csv cannot be read \(no such file.*; working folder"
    refused(pets, UsageError, match, csv="no.csv")


# A choice of classes.


def test_only_chosen_folders_are_looked_into_in_the_order_of_the_choice(pets, monkeypatch):
    (pets / "empty").mkdir()
    looked = []
    below = places.Folder.below
    monkeypatch.setattr(
        places.Folder, "below", lambda self, name: looked.append(name) or below(self, name)
    )
    images = image_folder(pets, Preprocessing(8), classes=("dog", "cat"))
    assert images.classes == ("dog", "cat") and looked == ["dog", "cat"]
    assert pairs(images) == {"cat/0.png": "cat", "cat/1.png": "cat", "dog/0.png": "dog"}


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        (("dgo",), r"config\.data\.classes has 'dgo', expected .*/pets \(did you mean 'dog'\?\)"),
        (("xyz",), r"has 'xyz', expected classes of .*/pets: cat, cow, dog$"),
        (("cat", "cat"), r"has 'cat' twice"),
    ],
)
def test_a_choice_of_classes_that_are_not_there(classes, match, pets):
    refused(pets, UsageError, match, classes=classes)


def test_the_config_chooses_classes_and_names_the_table(pets, tmp_path):
    config = defaults.transfer().data
    config.update(name="folder", path=str(pets), classes=("dog", "cat"))
    assert loading.load(config, 8).images.classes == ("dog", "cat")
    table = tmp_path / "labels.csv"
    table.write_text("file,class\ncat/0.png,1\ncow/0.png,10\n")
    config.update(csv=str(table), classes=(10,))  # as the command line makes of --….classes=10
    assert loading.load(config, 8).images.ids == ("cow/0.png",)


# Parts of a data set are no classes.


def test_folders_that_are_splits(tmp_path):
    for split in ("train", "Val"):
        for name in ("cat", "dog"):
            save(tmp_path / "set" / split / name / "0.png", (200, 0, len(name) + ord(name[0])))
    refused(
        tmp_path / "set", UserError, r"has the folders Val, train: .* name one of .*/set/train$"
    )
    assert image_folder(tmp_path / "set" / "train", Preprocessing(8)).classes == ("cat", "dog")
    # Who names them as classes means it.
    assert image_folder(
        tmp_path / "set", Preprocessing(8), classes=["train", "Val"]
    ).labels.tolist() == [
        1,
        1,
        0,
        0,
    ]
    (tmp_path / "set" / "Val").rename(tmp_path / "set" / "cars")
    assert image_folder(tmp_path / "set", Preprocessing(8)).classes == ("cars", "train")


def test_labels_are_int32(pets):
    assert image_folder(pets, Preprocessing(8)).labels.dtype == np.int32

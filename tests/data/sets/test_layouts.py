"""Which folders are classes, whatever lies around them, in folders and in archives alike."""

import json
import os

import pytest

from maskgit_prompt.data.names import composed
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UserError
from tests.data.pictures import save
from tests.data.sets.test_places import archived

SPLIT_PAIRS = (("training_set", "test_set"), ("Train", "val"), ("train2017", "val2017"))


def put(folder, *names):
    """Images with contents of their own."""
    for name in names:
        red, green = divmod(sum(map(ord, name)) * 7 % 40000, 200)
        save(folder / name, (red + 50, green + 50, len(name)))
    return folder


def both(folder):
    """What is read from a folder and from an archive of it, which must be the same."""
    found = image_folder(folder, Preprocessing(8))
    for kind in ("zip", "tar"):
        archive = image_folder(archived(folder, folder.with_suffix(f".{kind}")), Preprocessing(8))
        assert (archive.classes, archive.ids) == (found.classes, found.ids)
        assert archive.labels.tolist() == found.labels.tolist()
        assert archive.fingerprint == found.fingerprint
        assert [x.what for x in archive.found.left_out] == [x.what for x in found.found.left_out]
    return found


# Folders around the classes.


@pytest.mark.parametrize("around", ["imgs", "train", "Training_Set", "a/b/c", "set/train"])
def test_a_folder_that_is_all_there_is_is_looked_into(around, tmp_path):
    put(tmp_path / "photos", f"{around}/a/0.png", f"{around}/b/0.png")
    found = both(tmp_path / "photos")
    assert found.classes == ("a", "b") and found.name == "photos"
    assert found.ids == ("a/0.png", "b/0.png")
    assert found.found.where == f"{tmp_path}/photos/{around}"
    assert found.found.notes == (f"read from {tmp_path}/photos/{around}, the only folder there",)


def test_notes_and_leftovers_beside_it_do_not_matter(tmp_path):
    put(tmp_path / "set", "imgs/a/0.png", "imgs/b/0.png", "@eaDir/x.png", "__MACOSX/imgs/y.png")
    (tmp_path / "set" / "README.md").write_text("")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert found.classes == ("a", "b")
    assert [(x.what, x.first) for x in found.found.left_out] == [
        ("of tools or storage", ("../@eaDir", "../__MACOSX"))
    ]


def test_a_single_folder_of_images_is_a_class(tmp_path):
    put(tmp_path / "set", "cat/0.png", "cat/1.png")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert (found.classes, found.ids) == (("cat",), ("cat/0.png", "cat/1.png"))


def test_a_single_folder_of_images_and_folders_is_a_class(tmp_path):
    put(tmp_path / "set", "cat/0.png", "cat/indoors/1.png")
    assert both(tmp_path / "set").classes == ("cat",)


def test_a_single_part_of_images_side_by_side_is_a_class_with_the_sets_name(tmp_path):
    put(tmp_path / "birds", "train/0.png", "train/1.png")
    found = image_folder(tmp_path / "birds", Preprocessing(8))
    assert (found.classes, found.ids) == (("birds",), ("0.png", "1.png"))


def test_who_names_the_single_folder_as_a_class_means_it(tmp_path):
    put(tmp_path / "set", "imgs/a/0.png", "imgs/b/0.png")
    named = lambda *classes: image_folder(tmp_path / "set", Preprocessing(8), classes=classes)
    assert named("imgs").ids == ("imgs/a/0.png", "imgs/b/0.png")
    assert named("b").ids == ("b/0.png",)


def test_tables_and_orders_beside_it_are_heard_first(tmp_path):
    put(tmp_path / "set", "imgs/a/0.png", "imgs/b/0.png")
    (tmp_path / "set" / "labels.csv").write_text("file,class\nimgs/a/0.png,x\nimgs/b/0.png,y\n")
    assert image_folder(tmp_path / "set", Preprocessing(8)).classes == ("x", "y")


@pytest.mark.parametrize("told", ["labels.csv", "classes.txt"])
def test_a_single_folder_with_a_table_or_an_order_is_looked_into(told, tmp_path):
    put(tmp_path / "set", "photos/0.png", "photos/1.png")
    text = "photos\tbirds\n" if told == "classes.txt" else "id,label\n0,birds\n1,birds\n"
    (tmp_path / "set" / "photos" / told).write_text(text.replace("photos", "set"))
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert (found.classes, found.ids) == (("birds",), ("0.png", "1.png"))


# Parts of a data set.


@pytest.mark.parametrize("parts", SPLIT_PAIRS)
def test_parts_are_refused_with_a_way_out(parts, tmp_path):
    put(tmp_path / "set", *(f"{part}/{name}/0.png" for part in parts for name in "ab"))
    (tmp_path / "set" / "annotations").mkdir()  # holds no images
    (tmp_path / "set" / "annotations" / "a.xml").write_text("")
    first, second = sorted(parts)
    match = (
        rf"has the folders {first}, {second}: parts of a data set, .* name one .*set/{parts[0]}$"
    )
    with pytest.raises(UserError, match=match):
        image_folder(tmp_path / "set", Preprocessing(8))
    with pytest.raises(UserError, match="parts of a data set"):
        image_folder(tmp_path / "set", Preprocessing(8), classes=["a"])
    assert image_folder(tmp_path / "set" / parts[0], Preprocessing(8)).classes == ("a", "b")


def test_a_class_that_is_called_like_a_part_is_told(tmp_path):
    put(tmp_path / "set", "bus/0.png", "train/0.png")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert found.classes == ("bus", "train")
    assert found.found.notes == ("taken as classes, though called like parts of a data set: train",)


def test_classes_that_are_called_like_folds_are_told(tmp_path):
    put(tmp_path / "set", "fold1/0.png", "Fold_2/0.png", "paper/0.png", "split-3/0.png")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert found.classes == ("Fold_2", "fold1", "paper", "split-3")
    assert found.found.notes == (
        "taken as classes, though called like parts of a data set: Fold_2, fold1, split-3",
    )


def test_a_class_of_several_folders_is_told(tmp_path):
    put(
        tmp_path / "set", "imgs/a/0.png", "imgs/b/0.png", "imgs/b/1.png", "masks/0.png", "x/y/0.png"
    )
    found = both(tmp_path / "set")
    assert found.classes == ("imgs", "masks", "x")
    assert found.found.notes == (
        "classes made of several folders: imgs of a, b; to take such folders as classes, name the "
        f"folder that holds them, as {tmp_path}/set/imgs",
    )


def test_a_class_of_several_folders_may_have_any_name(tmp_path):
    put(tmp_path / "set", "cup of tea/a/0.png", "cup of tea/b/0.png", "dog/0.png")
    [note] = image_folder(tmp_path / "set", Preprocessing(8)).found.notes
    assert note.endswith(f"as {tmp_path}/set/cup of tea")


def test_classes_that_differ_in_case_only_are_told(tmp_path):
    put(tmp_path / "set", "Cat/0.png", "cat/0.png", "CAT/0.png", "dog/0.png")
    found = both(tmp_path / "set")
    assert found.classes == ("CAT", "Cat", "cat", "dog")
    assert found.found.notes == (
        "classes whose names differ in upper and lower case only: CAT, Cat, cat",
    )


def test_a_pipe_is_told(tmp_path):
    put(tmp_path / "set", "a/0.png", "b/0.png")
    os.mkfifo(tmp_path / "set" / "a" / "pipe.png")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert [x.line() for x in found.found.left_out] == [
        "not files: pipes, sockets, devices: 1 (a/pipe.png)"
    ]


# What lies beside the classes.

LEFT = (
    *("__MACOSX", "@eaDir", ".thumbnails", "$RECYCLE.BIN", "System Volume Information"),
    *("#recycle", "lost+found", ".ipynb_checkpoints"),
)


def test_folders_of_tools_and_storage_are_not_classes(tmp_path):
    put(tmp_path / "set", "a/0.png", "b/0.png", *(f"{name}/x.png" for name in LEFT))
    put(tmp_path / "set", "a/@eaDir/y.png", "a/._0.png", "b/.thumbnails/z.png")
    for name in ("Thumbs.db", "a/desktop.ini", "b/notes.TXT", "b/raw.nef", "b/page.svg", "a/none"):
        (tmp_path / "set" / name).write_text("")
    found = both(tmp_path / "set")
    assert found.ids == ("a/0.png", "b/0.png")
    assert [(x.what, x.count) for x in found.found.left_out] == [
        ("ending in .nef, camera raw (export it as JPEG or TIFF)", 1),
        ("ending in .svg, a drawing or a page (export it as PNG)", 1),
        ("ending in .txt", 1),
        ("hidden", 4),
        ("of tools or storage", 9),
        ("without an ending", 1),
    ]


@pytest.mark.parametrize("at", ["run", "runs/mine", "runs/deep/er", "a/run"])
@pytest.mark.parametrize("own", ["results.json", "checkpoints/1/x", "images.json", "samples.json"])
def test_workdirs_are_not_classes_nor_are_their_pictures_images(at, own, tmp_path):
    put(tmp_path / "set", "a/0.png", "b/0.png", f"{at}/samples/real.png", f"{at}/images/a/0.png")
    for name in ("config.json", own):
        file = tmp_path / "set" / at / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({}))
    found = both(tmp_path / "set")
    assert (found.classes, found.ids) == (("a", "b"), ("a/0.png", "b/0.png"))
    assert [(x.what, x.first) for x in found.found.left_out] == [
        ("workdirs of earlier runs", (at,))
    ]


def test_a_workdir_that_is_named_is_read(tmp_path):
    put(tmp_path / "run", "images/a/0.png", "images/b/0.png")
    for name in ("config.json", "results.json"):
        (tmp_path / "run" / name).write_text("{}")
    assert image_folder(tmp_path / "run" / "images", Preprocessing(8)).classes == ("a", "b")


# Names.

NFD, NFC = "cafe\u0301", "café"


@pytest.mark.parametrize(("stored", "asked"), [(NFD, NFC), (NFC, NFD), ("e\u0301té", "été")])
def test_names_are_the_same_however_accents_are_stored(stored, asked, tmp_path):
    folder = put(tmp_path / "set", f"{stored}/0.png", "dog/0.png")
    found = both(folder)
    assert found.classes == tuple(sorted((composed(stored), "dog")))
    assert found.ids == tuple(sorted((f"{composed(stored)}/0.png", "dog/0.png")))
    named = image_folder(folder, Preprocessing(8), classes=[asked])
    assert named.classes == (composed(stored),)
    (folder / "classes.txt").write_text(f"dog\n{asked}\tcoffee {asked}\n")
    assert image_folder(folder, Preprocessing(8)).classes == ("dog", f"coffee {composed(asked)}")
    (folder / "classes.txt").unlink()
    (folder / "labels.csv").write_text(f"file,class\n{asked}/0.png,{asked}\ndog/0.png,{stored}\n")
    assert image_folder(folder, Preprocessing(8)).classes == (composed(stored),)


def test_two_folders_of_one_name_make_one_class(tmp_path):
    folder = put(tmp_path / "set", f"{NFD}/0.png", f"{NFC}/1.png", "dog/0.png")
    found = image_folder(folder, Preprocessing(8))
    assert found.classes == (NFC, "dog") and found.labels.tolist() == [0, 0, 1]
    assert found.found.notes == (f"2 folders are called {NFC} and make one class",)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("caf\udce9", r"caf\xe9"),
        ("a\nb", r"a\nb"),
        ("\x1b[1mx", r"\x1b[1mx"),
        ("\u202ex", r"\u202ex"),
    ],
)
def test_a_name_that_cannot_be_written_is_escaped_and_told(folder, name, tmp_path):
    put(tmp_path / "set", f"{folder}/0.png", "dog/0.png")
    found = image_folder(tmp_path / "set", Preprocessing(8))
    assert set(found.classes) == {name, "dog"} and f"{name}/0.png" in found.ids
    assert found.found.notes == (
        f"names of folders have characters that cannot be written: the classes are called {name}; "
        "rename the folders, or give the classes names in classes.txt",
    )
    assert len(found.pixels()) == 2
    (tmp_path / "set" / "classes.txt").write_text(f"{name}\tcoffee\ndog\n")
    assert image_folder(tmp_path / "set", Preprocessing(8)).classes == ("coffee", "dog")


# Where there are no images.


def test_what_lies_there_instead_of_images_is_named(tmp_path):
    save(tmp_path / "set" / "cat" / "a.png")
    (tmp_path / "set" / "dog").mkdir()
    for name in ("a.nef", "b.NEF"):
        (tmp_path / "set" / "dog" / name).write_text("")
    with pytest.raises(
        UserError, match=r"class 'dog' .*the folder; left out: ending in \.nef, cam"
    ):
        image_folder(tmp_path / "set", Preprocessing(8))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "photos.zip").write_text("")
    with pytest.raises(UserError, match=r"no images in .*; left out: ending in \.zip, an archive"):
        image_folder(tmp_path / "none", Preprocessing(8))

"""Tables and folders as other programs write them."""

import pytest

from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.data.sets.leftovers import is_part, why_left_out
from maskgit_prompt.errors import UserError
from tests.data.pictures import save


def labelled(tmp_path, table: bytes, names=("0.png", "1.png")):
    """Classes by a labels.csv beside images."""
    for number, name in enumerate(names):
        save(tmp_path / name, (number, 0, 0))
    (tmp_path / "labels.csv").write_bytes(table)
    return image_folder(tmp_path, Preprocessing(8)).classes


def test_spaces_between_a_quote_and_what_divides_cells(tmp_path):
    assert labelled(tmp_path, b'"0.png" ; "k0"\n"1.png" ; "k1"\n') == ("k0", "k1")


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    with pytest.raises(UserError, match="expected a CSV with quotes closed"):
        labelled(tmp_path, b'"0.png" ; "k0\n1.png;k1\n')


def test_a_table_in_the_code_page_of_windows(tmp_path, caplog):
    table = "file,class\n0.png,Bär\n1.png,café\n".encode("cp1252")
    assert labelled(tmp_path, table) == ("Bär", "café")


def test_an_empty_table(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv is empty: add lines FILE,CLASS"):
        labelled(tmp_path, b"\n")


def test_a_table_beside_the_only_folder_is_told_of(tmp_path):
    for number in range(2):
        save(tmp_path / "train" / f"{number}.png", (number, 0, 0))
    (tmp_path / "train.csv").write_text("id,label\n0,cat\n1,dog\n")
    found = image_folder(tmp_path, Preprocessing(8)).found
    path = tmp_path / "train.csv"
    assert any(f"--config.data.csv={path} takes classes from it" in note for note in found.notes)
    assert "../train.csv" in found.left_out[0].line()


@pytest.mark.parametrize("name", ["thumbnails", "wandb", "resource.frk"])
def test_folders_that_tools_leave(name):
    assert why_left_out(name) == "of tools or storage"


@pytest.mark.parametrize("name", ["trainA", "testB", "A_train", "B_test", "train_b"])
def test_parts_of_pairs(name):
    assert is_part(name)


def test_of_several_parts_that_to_train_on_is_suggested(tmp_path):
    for part in ("seg_pred", "seg_test", "seg_train"):
        save(tmp_path / part / "a" / "0.png")
    with pytest.raises(UserError, match=r"name one of them, as \S+/seg_train$"):
        image_folder(tmp_path, Preprocessing(8))

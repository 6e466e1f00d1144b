"""Tables of files and classes as people and programs write them."""

import pytest

from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.errors import UserError
from tests.data.pictures import save

HEADERS = (
    *("file,class", "id,label", "image_id,label", "filename,category", "Image,Species"),
    *("FileName,Class_Name", "img path,target", "photo,animal"),
)


@pytest.fixture
def flat(tmp_path):
    for i in range(4):
        save(tmp_path / "set" / f"{i}.jpg", (200, 50 * i, 0))
    return tmp_path / "set"


def classes(folder, text: str | bytes, name: str = "labels.csv") -> list[str]:
    """The class of each image, by their names."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    images = image_folder(folder, Preprocessing(8))
    assert len(images) == 4
    return [images.classes[label] for label in images.labels]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("ending", ["", ".jpg", ".JPG"])
def test_headings_and_endings(header, ending, flat, warnings):
    rows = "".join(f"{i}{ending},{'xyyx'[i]}\n" for i in range(4))
    assert classes(flat, f"{header}\n{rows}") == ["x", "y", "y", "x"]
    assert warnings == []


XYYX = ("0.jpg", "x"), ("1.jpg", "y"), ("2.jpg", "y"), ("3.jpg", "x")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("file, class\n" + "".join(f"{f}, {c}\n" for f, c in XYYX), id="spaces"),
        pytest.param("id;label\r\n" + "".join(f"{f};{c}\r\n" for f, c in XYYX), id="semicolons"),
        pytest.param("id\tlabel\n" + "".join(f"{f}\t{c}\n" for f, c in XYYX), id="tabs"),
        pytest.param("id|label\n" + "".join(f"{f}|{c}\n" for f, c in XYYX), id="bars"),
        pytest.param("\ufeffid,label\n" + "".join(f"{f},{c}\n" for f, c in XYYX), id="BOM"),
        pytest.param(
            ("id,label\n" + "".join(f"{f},{c}\n" for f, c in XYYX)).encode("utf-16"), id="UTF-16"
        ),
        pytest.param('"id", "label"\n' + "".join(f'"{f}", "{c}"\n' for f, c in XYYX), id="quoted"),
        pytest.param("sep=;\nid;label\n" + "".join(f"{f};{c}\n" for f, c in XYYX), id="Excel"),
        pytest.param("".join(f"{f},{c}\n" for f, c in XYYX), id="no heading"),
        pytest.param("label,id\n" + "".join(f"{c},{f}\n" for f, c in XYYX), id="class first"),
        pytest.param(
            "id,score,label\n" + "".join(f"{f},0.5,{c}\n" for f, c in XYYX), id="more columns"
        ),
        pytest.param(
            "id,class_id,class_name\n" + "".join(f"{f},{ord(c)},{c}\n" for f, c in XYYX),
            id="names before numbers",
        ),
        pytest.param(
            "id,file,label\n" + "".join(f"z{f[0]},{f},{c}\n" for f, c in XYYX), id="id and file"
        ),
        pytest.param("file,class\n" + "".join(f".\\{f},{c}\n" for f, c in XYYX), id="backslashes"),
        pytest.param(
            "\nfile,class\n\n" + "".join(f"./{f},{c}\n" for f, c in XYYX), id="empty lines"
        ),
    ],
)
def test_ways_to_write_a_table(text, flat, warnings):
    assert classes(flat, text) == ["x", "y", "y", "x"]
    assert warnings == []


def test_a_tsv_and_capitals_in_its_name(flat):
    text = "id\tlabel\n" + "".join(f"{f}\t{c}\n" for f, c in XYYX)
    assert classes(flat, text, "Labels.tsv") == ["x", "y", "y", "x"]


def test_ids_name_files_in_folders_beside_images_without_a_class(tmp_path, warnings):
    for i in range(3):
        save(tmp_path / "set" / "train" / f"id{i}.jpg", (200, 50 * i, 0))
        save(tmp_path / "set" / "test" / f"t{i}.jpg", (200, 50 * i, 200))
    (tmp_path / "set" / "labels.csv").write_text("id,breed\nid0,pug\nid1,collie\nid2,pug\n")
    images = image_folder(tmp_path / "set", Preprocessing(8))
    assert images.ids == ("train/id0.jpg", "train/id1.jpg", "train/id2.jpg")
    assert [images.classes[label] for label in images.labels] == ["pug", "collie", "pug"]
    table = tmp_path / "set" / "labels.csv"
    assert [(x.what, x.count) for x in images.found.left_out] == [(f"not in {table}", 3)]
    assert len(warnings) == 1 and "left out 3 of 6 images" in warnings[0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,label\n0,x\n1,y\n", r"line 2: 0 may be 0\.jpg and 0\.png in .*: write one of these"),
        ("id,label\n0.jpg,x\n0.JPG,y\n", r"line 3: 0\.JPG for the second time"),
        (
            "id,label\n0.jpg,x\n9,y\n",
            r"not images .* 1 of 2 files, the first is 9;",
        ),
        ("id,label\n0.jpg, \n", r"line 2: '0\.jpg,', expected a file and its class"),
    ],
)
def test_cells_that_do_not_fit(text, match, flat):
    save(flat / "0.png", (10, 250, 10))
    (flat / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=match) as found:
        image_folder(flat, Preprocessing(8))
    assert "\n" not in str(found.value)


def test_a_table_of_many_columns_without_a_class_is_not_understood(flat):
    (flat / "labels.csv").write_text("image,melanoma,nevus\n0,1,0\n1,0,1\n")
    with pytest.raises(UserError, match="begins with 'image,melanoma,nevus', expected"):
        image_folder(flat, Preprocessing(8))


def test_classes_of_a_table_are_legible(flat):
    names = ("cafe\u0301", *["a\u0007b"] * 3)
    rows = "".join(f"{i}.jpg,{name}\n" for i, name in enumerate(names))
    assert classes(flat, f"file,class\n{rows}") == ["café", *[r"a\x07b"] * 3]

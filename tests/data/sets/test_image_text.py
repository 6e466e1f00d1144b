"""Tables of images and texts: which example has what, and one line with file and row for each
error."""

import base64

import numpy as np
import pytest

from maskgit_prompt.data.examples import Columns, split_targets
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets.image_text import image_text
from maskgit_prompt.data.sets.image_tsv import image_tsv
from maskgit_prompt.errors import UsageError, UserError
from tests.data.drawn_examples import COLOURS, SIZES, csv_of, folder, json_of, tsv_of

PRE = Preprocessing(8, fit="resize")
LINES = (
    "blue.png,what?,a blue one",
    '"deep/grey.png","how, exactly?",1&&one',
    "red.png,,0.3|!+yes",
)


def check(examples):
    """That texts, targets and pixels are those of LINES, each with its own image."""
    assert examples.texts == (("what?",), ("how, exactly?",), ("",))
    assert examples.targets == (("a blue one",), ("1", "one"), ("yes",))
    assert examples.weights == ((1.0,), (1.0, 1.0), (0.3,))
    assert examples.sizes.tolist() == [list(SIZES[c]) for c in ("blue", "grey", "red")]
    pixels = examples.read(np.array([2, 0, 1]))
    assert pixels.shape == (3, 8, 8, 3)
    assert pixels[:, 0, 0].tolist() == [list(COLOURS[c]) for c in ("red", "blue", "grey")]


def test_a_csv(tmp_path):
    examples = image_text(csv_of(folder(tmp_path), *LINES), PRE)
    check(examples)
    table = tmp_path / "train.csv"
    assert examples.rows == tuple(f"{table}, line {n}" for n in (2, 3, 4))
    assert examples.name == "train" and len(examples) == 3


def test_json_lines(tmp_path):
    check(
        image_text(
            json_of(
                folder(tmp_path),
                {"image": "blue.png", "text": "what?", "target": "a blue one", "more": 3},
                {"target": [1, "one"], "text": "how, exactly?", "image": "deep/grey.png"},
                {"image": "red.png", "text": None, "target": "0.3|!+yes"},
            ),
            PRE,
        )
    )


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode])
def test_lines_with_tabs_and_images_in_base64(tmp_path, encode):
    file = tsv_of(
        tmp_path,
        ("1", "9", "what?", "a blue one", "none", b"blue"),
        ("2", "9", "how, exactly?", "1&&one", "none", b"grey"),
        ("3", "9", "", "0.3|!+yes", "none", b"red"),
        encode=encode,
    )
    check(image_tsv(file, PRE, Columns(5, (2,), 3)))


def test_several_texts_keep_their_order(tmp_path):
    line = ("1", "9", b"red", "a hypothesis", "a caption", "yes")
    examples = image_tsv(tsv_of(tmp_path, line), PRE, Columns(2, (4, 3), 5))
    assert examples.texts == (("a caption", "a hypothesis"),)
    assert image_tsv(tsv_of(tmp_path, line), PRE, Columns(2, (), 5)).texts == ((),)


def test_other_headings_and_delimiters(tmp_path):
    folder(tmp_path)
    (tmp_path / "x.csv").write_text("\ufeffid; answer;file\n1;yes;red.png\n\n2;no, not;blue.png\n")
    examples = image_text(tmp_path / "x.csv", PRE, Columns("file", (), "answer"))
    assert examples.targets == (("yes",), ("no, not",))
    assert examples.rows[1].endswith("x.csv, line 4")


def test_the_fingerprint_is_of_everything(tmp_path):
    first = image_text(csv_of(folder(tmp_path), *LINES), PRE).fingerprint
    assert image_text(csv_of(tmp_path, *LINES), PRE).fingerprint == first
    others = [
        image_text(csv_of(tmp_path, *LINES), Preprocessing(9, fit="resize")),
        image_text(csv_of(tmp_path, LINES[0].replace("what", "who"), *LINES[1:]), PRE),
        image_text(csv_of(tmp_path, LINES[0].replace("a blue", "blue"), *LINES[1:]), PRE),
        image_text(csv_of(tmp_path, LINES[0].replace("blue.png", "red.png"), *LINES[1:]), PRE),
        image_text(csv_of(tmp_path, *LINES[:2], LINES[2].replace("0.3", "0.4")), PRE),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("yes", (("yes",), (1.0,))),
        (" a dog && one dog&&", (("a dog", "one dog"), (1.0, 1.0))),
        ("0.6|!+yes&&1|!+no", (("yes", "no"), (0.6, 1.0))),
        ("", ((), ())),
    ],
)
def test_targets_of_a_cell(cell, expected):
    assert split_targets(cell) == expected


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("red.png,what?", r"train.csv, line 3: 2 cells, expected 3 as in the heading; put quotes"),
        ("red.png,a, b,yes", r"line 3: 4 cells, expected 3 as in the heading"),
        (",what?,yes", r"train.csv, line 3: no image: expected one in each line; fill it in"),
        ("red.png,what?,&&", r"train.csv, line 3: no target: expected one in each line"),
        ("red.png,what?,x|!+y", r"line 3: target 'x\|!\+y' \(.*\), expected answers and weights"),
        ("red.png,what?,-1|!+y", r"line 3: target '-1\|!\+y' \(weight -1\), expected answers"),
        ("green.png,what?,yes", r"train.csv, line 3: no image green.png in .*: expected its path"),
        ("bad.png,what?,yes", r"train.csv, line 3: image bad.png is broken \(not an image\): mend"),
        ("cut.png,what?,yes", r"train.csv, line 3: image cut.png is broken \(.*\): mend it or rem"),
        ("empty.png,a,yes", r"line 3: image empty.png is broken \(the file is empty\)"),
        ('red.png,"what?,yes', r"train.csv, line 3: unexpected end of data; expected a CSV with"),
    ],
)
def test_lines_that_do_not_fit(tmp_path, line, message):
    folder(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "red.png").read_bytes()[:60])
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        image_text(csv_of(tmp_path, LINES[0], line), PRE)


def test_a_column_that_is_missing(tmp_path):
    folder(tmp_path)
    (tmp_path / "a.csv").write_text("image,caption\nred.png,x\n")
    with pytest.raises(UserError, match="a.csv has the columns image, caption: expected 'text' am"):
        image_text(tmp_path / "a.csv", PRE)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(UserError, match="a.csv has the columns none: expected 'image' among them"):
        image_text(tmp_path / "a.csv", PRE)


def test_tables_that_are_not_there(tmp_path):
    folder(tmp_path)
    with pytest.raises(UsageError, match="has no table: expected a CSV"):
        image_text(tmp_path, PRE)
    with pytest.raises(UsageError, match="no.csv is missing: name a table"):
        image_text(tmp_path / "no.csv", PRE)
    with pytest.raises(UsageError, match="red.png is neither a CSV"):
        image_text(tmp_path / "red.png", PRE)
    csv_of(tmp_path)
    with pytest.raises(UserError, match="train.csv has no examples: expected one per line"):
        image_text(tmp_path, PRE)
    csv_of(tmp_path, name="test.csv")
    with pytest.raises(UsageError, match=r"several tables \(test.csv, train.csv\): name one"):
        image_text(tmp_path, PRE)
    (tmp_path / "latin.csv").write_bytes("image,text,target\nred.png,é,x".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.csv is not UTF-8 \(byte 26\): save it as UTF-8"):
        image_text(tmp_path / "latin.csv", PRE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", r"train.jsonl, line 2: not an object; expected a JSON object in one line"),
        ('{"image": ', r"train.jsonl, line 2: .*; expected a JSON object in one line"),
        ('{"image": "a", "text": "b"}', r"line 2 has image, text: expected 'target' among them"),
        ('{"image": "a", "text": "b", "target": []}', r"train.jsonl, line 2: no target"),
    ],
)
def test_json_lines_that_do_not_fit(tmp_path, line, message):
    json_of(folder(tmp_path), {"image": "red.png", "text": "a", "target": "b"})
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=message):
        image_text(tmp_path, PRE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ("1", "9", "cat"),
            r"val.tsv, line 2: 3 columns, expected at least 5: the line begins with",
        ),
        (("1", "9", "cat", "x", ""), r"val.tsv, line 2: no image: expected one in each line"),
        (("1", "9", "", "x", b"red"), r"val.tsv, line 2: no target"),
        (
            ("1", "9", "cat", "x", "a!"),
            r"line 2: image in column 4 is broken \(not base64: .*\): me",
        ),
        (("1", "9", "cat", "x", "aaaa"), r"line 2: image in column 4 is broken \(not an image\)"),
    ],
)
def test_lines_with_tabs_that_do_not_fit(tmp_path, line, message):
    file = tsv_of(tmp_path, ("1", "9", "cat", "x", b"red"), line)
    with pytest.raises(UserError, match=message):
        image_tsv(file, PRE, Columns(4, (), 2))


def test_a_file_of_lines_that_is_missing_or_empty(tmp_path):
    with pytest.raises(UsageError, match="no file .*val.tsv: name a file of lines with tabs"):
        image_tsv(tmp_path / "val.tsv", PRE, Columns(4, (), 2))
    with pytest.raises(UserError, match="val.tsv has no examples: expected one per line"):
        image_tsv(tsv_of(tmp_path), PRE, Columns(4, (), 2))


def test_an_image_that_changes_after_it_was_looked_at(tmp_path):
    examples = image_text(csv_of(folder(tmp_path), *LINES), PRE)
    (tmp_path / "blue.png").write_bytes((tmp_path / "red.png").read_bytes())
    with pytest.raises(UserError, match="train.csv, line 2: image blue.png changed while in use"):
        examples.read(np.array([0]))

"""The published vocabulary's files, in small: ids by hand, marks, and files that do not fit."""

import json

import pytest

pytest.importorskip("tiktoken", reason="the extra multimodal")

from maskgit_prompt.data.text import bpe
from maskgit_prompt.errors import UsageError, UserError
from tests.data.text.vocabularies import MERGES, PIECES, write


@pytest.fixture
def read(tmp_path):
    return lambda **changes: bpe.read(write(tmp_path / "v", **changes), codes=5, bins=3)


def test_ids_are_places_in_the_dictionary(read):
    tokenizer = read()
    # 258 is " two", on the first line; 259 "ab" on the second; 50 on the third.
    assert tokenizer.encode(" two") == [4]
    assert tokenizer.encode(" twoab") == [4, 5]
    third = bytes([byte for byte, c in bpe._characters().items() if c == PIECES[50]])
    assert tokenizer.encode(third.decode()) == [6]
    # Four lines of merged pieces, 256 of bytes, one that fills up.
    assert tokenizer.layout.words == 4 + 261
    assert tokenizer.layout.size == 4 + 261 + 1 + 5 + 3


def test_the_published_layout(read):
    layout = bpe.Layout(50264, bpe.CODES, bpe.BINS)
    assert (layout.mask, layout.first_code, layout.first_bin) == (50264, 50265, 58457)
    assert layout.size == 59457


@pytest.mark.parametrize(
    "text", [" two", "Two dogs, don't\n they?  ", "zwölf 日本 🙂", "", "<|endoftext|>"]
)
def test_text_comes_back(read, text):
    tokenizer = read()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([0, *ids, 2, 4, 4]) == text  # nothing behind </s>
    assert tokenizer.decode([*ids, 1, 1]) == text


def test_marks_are_one_id_each(read):
    tokenizer = read()
    layout = tokenizer.layout
    ids = tokenizer.encode(" two <bin_0><bin_2> <code_4> <mask> two")
    assert ids == [4, layout.first_bin, layout.first_bin + 2, layout.first_code + 4, layout.mask, 4]
    assert layout.first_bin + 2 == layout.size - 1
    assert tokenizer.decode(ids) == " two <bin_0> <bin_2> <code_4> <mask> two"
    assert tokenizer.decode(ids[1:3]) == "<bin_0> <bin_2>"


def test_a_piece_without_a_line_is_unknown(read, tmp_path):
    read()
    path = tmp_path / "v" / "dict.txt"
    path.write_text(path.read_text().replace("259 9\n", "madeupword0007 0\n"))
    tokenizer = bpe.read(tmp_path / "v", 5, 3)
    assert tokenizer.encode(" twoab") == [4, 3]
    assert tokenizer.decode([4, 3]) == " two<unk>"
    assert tokenizer.decode([4, 5]) == " two"  # padding entries of the dictionary have no text


def test_ids_of_other_models(read):
    tokenizer = read()
    tokenizer.check(tokenizer.layout.size)
    with pytest.raises(UserError, match=r"has 274 ids, the model 59,457: expected the voc"):
        tokenizer.check(59457)
    for id_ in (274, -1):
        with pytest.raises(
            UserError, match=f"token id {id_}: the vocabulary .* has 274 ids; these"
        ):
            tokenizer.decode([4, id_])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            " a <bin_3>",
            r"<bin_3> in the text ' a <bin_3>': the vocabulary .* has 3 bins; expected 0",
        ),
        ("<code_5>", r"<code_5> in the text '<code_5>': .* has 5 codes; expected 0 to 4"),
    ],
)
def test_marks_that_are_not_there(read, text, message):
    with pytest.raises(UserError, match=message):
        read().encode(text)


def test_no_codes_at_all(tmp_path):
    with pytest.raises(UserError, match="has no codes; take it out"):
        bpe.read(write(tmp_path), codes=0, bins=3).encode("<code_0>")


# --- Files that do not fit -----------------------------------------------------------------------


@pytest.mark.parametrize("name", bpe.FILES)
def test_a_missing_file(tmp_path, name):
    (write(tmp_path) / name).unlink()
    with pytest.raises(
        UsageError, match=rf"no file .*{name}: expected encoder.json, vocab.bpe, dict"
    ):
        bpe.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("encoder.json", "[", r"encoder.json is not a vocabulary .*: fetch it again"),
        ("encoder.json", "[1]", r"encoder.json is not a vocabulary \(expected an object of pieces"),
        ("vocab.bpe", "a b c", r"vocab.bpe, line 1: 'a b c', expected two pieces of GPT-2's byte"),
        ("vocab.bpe", "a\tb", r"vocab.bpe, line 1: 'a\\\\tb', expected two pieces"),
        (
            "vocab.bpe",
            "x y",
            r"encoder.json lacks the piece 'xy' of vocab.bpe: the files are of diff",
        ),
        (
            "dict.txt",
            "262 9\nthe 8\n",
            r"dict.txt, line 1: piece 262, but encoder.json has 260 pieces",
        ),
        (
            "dict.txt",
            "5 9\n[CLS] 8\n",
            r"dict.txt, line 2: '\[CLS\] 8', expected the number of a pi",
        ),
        ("dict.txt", "", r"dict.txt has no pieces: expected a line for each"),
    ],
)
def test_files_of_another_kind(tmp_path, name, contents, message):
    (write(tmp_path) / name).write_text(contents)
    with pytest.raises(UserError, match=message):
        bpe.read(tmp_path)


def test_ids_in_another_order(tmp_path):
    write(tmp_path)
    ids = json.loads((tmp_path / "encoder.json").read_text())
    ids["Ġt"], ids["ab"] = ids["ab"], ids["Ġt"]
    (tmp_path / "encoder.json").write_text(json.dumps(ids))
    with pytest.raises(
        UserError, match="not in the order of vocab.bpe: the files are of different"
    ):
        bpe.read(tmp_path)
    with pytest.raises(UserError, match="not in the order of vocab.bpe"):
        bpe.read(write(tmp_path, merges=MERGES[:1] + MERGES[2:], pieces=PIECES))


def test_without_tiktoken_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tiktoken", None)
    with pytest.raises(UserError, match=r"needs tiktoken: pip install -e '.\[multimodal\]'"):
        bpe.read(write(tmp_path))

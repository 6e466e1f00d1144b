"""The small vocabulary: frequent words whole, all else by bytes."""

import pytest

from maskgit_prompt.data.text.words import WordsAndBytes
from maskgit_prompt.errors import UserError

TEXTS = [" two red dogs", " two dogs.", " a dog and two more"]
FIRST = 4 + 256


def test_the_most_frequent_words_by_hand():
    tokenizer = WordsAndBytes.learn(TEXTS, 4, codes=2, bins=3)
    assert tokenizer.words == (" two", " dogs", " a", " and")  # equals by the alphabet
    assert tokenizer.encode(" two dogs") == [FIRST, FIRST + 1]
    assert tokenizer.layout.words == FIRST + 4 and tokenizer.layout.size == FIRST + 4 + 1 + 2 + 3


def test_what_is_no_word_is_spelled():
    tokenizer = WordsAndBytes.learn(TEXTS, 4)
    assert tokenizer.encode(" two x") == [FIRST, 4 + ord(" "), 4 + ord("x")]
    assert tokenizer.encode("é") == [4 + 0xC3, 4 + 0xA9]
    assert len(tokenizer.encode(" perros")) == 7


@pytest.mark.parametrize("text", [" two rojos, dos perros!", "\ta  b\n_3", "日本 🙂 two", ""])
def test_no_text_is_lost(text):
    tokenizer = WordsAndBytes.learn(TEXTS, 4)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_marks_are_one_id_each():
    tokenizer = WordsAndBytes.learn(TEXTS, 4, codes=2, bins=3)
    ids = tokenizer.encode(" two <bin_2> <code_1><mask>")
    assert ids == [FIRST, FIRST + 7 + 2, FIRST + 5 + 1, FIRST + 4]
    assert tokenizer.decode(ids) == " two <bin_2> <code_1> <mask>"


def test_it_is_kept_as_json():
    tokenizer = WordsAndBytes.learn(TEXTS, 4, codes=2, bins=3)
    again = WordsAndBytes.from_json(tokenizer.to_json(), "words.json")
    assert (again.words, again.layout) == (tokenizer.words, tokenizer.layout)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"words": [1], "codes": 0, "bins": 0}', '{"words": []}']
)
def test_what_is_not_a_vocabulary(text):
    with pytest.raises(
        UserError, match="words.json is not a vocabulary .*: expected an object of wo"
    ):
        WordsAndBytes.from_json(text, "words.json")

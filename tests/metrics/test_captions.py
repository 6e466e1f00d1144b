"""CIDEr and BLEU against numbers worked out by hand; captions of other images must score lower."""

import sys

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics import captions
from maskgit_prompt.metrics.captions import bleu, cider, words

REFERENCES = [
    ["A red dog runs on the grass.", "a dog on grass"],
    ["Two blue cats sleep.", "cats that sleep on a sofa"],
    ["A green train waits in a station.", "train in a station"],
]
RIGHT = ["a red dog runs on the grass", "two blue cats sleep", "a green train waits in a station"]


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("pycocoevalcap", reason="the extra multimodal")


def test_what_is_compared():
    assert words("A dog, well-fed; don't (touch) 2 of 'em!") == "a dog well-fed don't touch 2 of em"


def test_bleu_by_hand():
    # The reference shares 3 of 4 words, 2 of 3 pairs and 1 of 2 triples; both are equally long.
    found = bleu(["a red dog ran"], [["a red dog runs"]])
    expected = [3 / 4, (3 / 4 * 2 / 3) ** (1 / 2), (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-6)
    assert len(found) == 4 and found[3] < 1e-3
    # Half as long as the reference: exp(1 - 4 / 2) of precision 1.
    np.testing.assert_allclose(bleu(["a red"], [["a red dog runs"]])[0], np.exp(-1), rtol=1e-6)


def test_cider_by_hand():
    # Two images with one word each, of which no other has it: the words' directions are equal, so
    # single words score 10; there are no pairs, triples and fours, which count a quarter each.
    assert cider(["dog", "cat"], [["dog"], ["cat"]]) == pytest.approx(10 / 4)
    assert cider(["dog", "dog"], [["dog"], ["cat"]]) == pytest.approx(10 / 4 / 2)


def test_captions_belong_to_their_images():
    exact, other = cider(RIGHT, REFERENCES), cider(RIGHT[1:] + RIGHT[:1], REFERENCES)
    assert exact > 1 and other < 0.2 * exact
    assert bleu(RIGHT, REFERENCES)[3] == pytest.approx(1)
    assert bleu(RIGHT[1:] + RIGHT[:1], REFERENCES)[3] < 0.1


def test_references_are_not_captions():
    short = ["a dog on grass", "cats", "train"]
    swapped = cider([known[0] for known in REFERENCES], [[caption] for caption in short])
    assert cider(short, [known[:1] for known in REFERENCES]) != pytest.approx(swapped)


@pytest.mark.parametrize("measure", [cider, bleu])
def test_what_cannot_be_judged(measure):
    with pytest.raises(UserError, match="0 captions and references of 0 images: expected as many"):
        measure([], [])
    with pytest.raises(UserError, match="image 1 has no reference to judge a caption by"):
        measure(["a", "b"], [["a"], []])


def test_nothing_is_printed(capsys):
    bleu(RIGHT, REFERENCES), cider(RIGHT, REFERENCES)
    assert capsys.readouterr().out == ""


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    with pytest.raises(UserError, match=r"need pycocoevalcap: pip install -e '.\[multimodal\]'"):
        captions.cider(RIGHT, REFERENCES)

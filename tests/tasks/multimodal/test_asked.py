"""Examples as ids, and what is wrong with them told by row."""

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.models.specials import END, PAD
from maskgit_prompt.tasks.multimodal import goals
from maskgit_prompt.tasks.multimodal.asked import ask, trie_of
from maskgit_prompt.tasks.multimodal.words import padded
from maskgit_prompt.tasks.pretraining.scenes import vocabulary
from tests.tasks.multimodal.made import examples

QUESTION = goals.find("question")


def asked(found, goal=QUESTION, positions=32, trie=None):
    return ask(found, goal, vocabulary(), 32, positions, trie)


def test_rows_are_filled_up():
    assert padded([(5, 2), (2,)], 3).tolist() == [[5, 2, 1], [2, 1, 1]]


def test_instructions_and_answers_are_read_back():
    found = asked(examples((("the star?",), ("yes",)), (("where is the star?",), ("left",))))
    decode = vocabulary().tokenizer.decode
    assert [decode(row) for row in found.sources] == [" the star?", " where is the star?"]
    assert [decode(several[0]) for several in found.targets] == [" yes", " left"]
    assert found.targets[0][0][-1] == END and found.longest == 2
    assert found.sources[0, -1] == PAD
    assert found.sources[1, -1] == END


def test_a_goal_wraps_the_text_in_its_instruction():
    found = asked(examples((("a star",), ("yes",))), goals.find("statement"))
    text = vocabulary().tokenizer.decode(found.sources[0])
    assert text == ' does the image describe " a star "?'


def test_boxes_become_bins_of_the_frame():
    # 64 x 32 pixels resized to 32 x 32, in a frame of 64 with 65 bins: half of x, all of y.
    rows = examples((("it",), ("16,8,64,24",)), sizes=[(64, 32)])
    found = asked(rows, goals.find("point"))
    text = vocabulary().tokenizer.decode(found.targets[0][0])
    assert text == "<bin_8> <bin_8> <bin_32> <bin_24>"
    np.testing.assert_array_equal(found.meant, [[16, 8, 64, 24]])
    back = vocabulary().boxes([text, "a star"], np.array([(64, 32)] * 2), 32)
    np.testing.assert_allclose(back[0], [16, 8, 64, 24])
    assert np.isnan(back[1]).all()


@pytest.mark.parametrize(
    ("row", "goal", "positions", "said"),
    [
        ((("is it red? " * 9,), ("yes",)), "question", 32, "the instruction has 56 tokens"),
        ((("is it?",), ("yes " * 40,)), "question", 32, "the answer has 42 tokens"),
        (((), ("yes",)), "question", 32, "0 texts for the instruction '{}', expected 1"),
        ((("it",), ("1,2,80,9",)), "point", 32, "outside the image of 64 x 64"),
        ((("it",), ("a box",)), "point", 32, "is not a box"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(row, goal, positions, said):
    good = (("is it?",), ("1,2,3,4",))
    with pytest.raises(UserError, match=r"^made\.csv, line 3: ") as error:
        asked(examples(good, row), goals.find(goal), positions)
    assert said in str(error.value)


def test_an_answer_that_the_trie_does_not_hold_is_told_with_its_row():
    trie = trie_of(("yes", "no"), vocabulary())
    asked(examples((("it",), ("no",)), (("it",), ("yes", "no"))), trie=trie)
    with pytest.raises(UserError, match=r"line 3: the answer 'perhaps' is not in the closed set"):
        asked(examples((("it",), ("no",)), (("it",), ("yes", "perhaps"))), trie=trie)

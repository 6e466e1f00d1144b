"""What a run asks, what answers may be, and what is refused before anything is written."""

import numpy as np
import pytest

from maskgit_prompt.decoding.constraints import IdRange, Trie
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.tasks.multimodal import finding
from maskgit_prompt.tasks.pretraining.scenes import vocabulary
from tests.tasks.multimodal.made import examples, make_plan


def test_a_task_of_scenes_says_what_is_asked(tmp_path):
    one = make_plan(tmp_path, data__task="colour-german")
    assert one.goal.scored == "answers" and "rot" in one.answers and "red" not in one.answers
    assert isinstance(one.constraint, Trie) and one.search.max_length == one.constraint.depth
    two = make_plan(tmp_path, data__task="refer")
    assert isinstance(two.constraint, IdRange) and two.goal.scored == "boxes"
    assert (two.search.min_length, two.search.max_length) == (4, 4)
    layout = vocabulary().tokenizer.layout
    assert (two.constraint.low, two.constraint.high) == (layout.first_bin, layout.size)
    three = make_plan(tmp_path, data__task="caption")
    assert three.constraint is None and three.goal.scored == "captions"
    assert three.search.max_length == three.tune.longest - 1 + 4


def test_the_same_scenes_are_never_tuned_on_and_held_out(tmp_path):
    one = make_plan(tmp_path)
    assert not set(one.tune.examples.rows) & set(one.test.examples.rows)
    assert (len(one.tune), len(one.test)) == (12, 6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "linear"}, "config.method = 'linear', expected one of prompt"),
        ({"data__size": 40}, "config.data.size = 40, expected a multiple of 16"),
        ({"data__size": 80}, "at most 64"),
        ({"goal": "point"}, "config.goal = 'point', but config.data.task = 'count'"),
        ({"prompt__layers": "top-9"}, "config.prompt: prefix layers 'top-9'"),
        ({"prompt__encoder": 0, "prompt__decoder": 0}, "config.prompt: no prefix at all"),
        ({"vocabulary": "bpe"}, "'tiny-ofa' brings its own"),
        (
            {"data__task": "caption", "search__length": 32},
            "config.search.length = 32, but the model has 32 positions",
        ),
        ({"search__length": 9}, "config.search.length = 9 has no use"),
        ({"loss__r_drop": 1.0, "train__micro_batches": 2}, "micro-batches would part"),
        ({"data__task": "refer", "closed": "targets"}, "answers are boxes"),
        ({"data__task": "refer", "data__fit": "crop"}, "moves boxes"),
        ({"data__task": "dance"}, "config.data.task = 'dance', expected one of caption"),
        ({"closed": "nope.txt"}, "config.closed = 'nope.txt' cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes, said):
    with pytest.raises((UsageError, UserError)) as error:
        make_plan(tmp_path, **changes)
    assert said in str(error.value)


def test_a_closed_set_from_the_targets_to_tune_on(tmp_path):
    one = make_plan(tmp_path, data__task="count", closed="targets")
    assert one.answers == tuple(sorted({t for ts in one.tune.examples.targets for t in ts}))


def test_a_closed_set_from_a_file(tmp_path):
    (tmp_path / "set.txt").write_text("yes\n\n no \n")
    one = make_plan(tmp_path, data__task="presence", closed=str(tmp_path / "set.txt"))
    assert one.answers == ("yes", "no")
    (tmp_path / "set.txt").write_text("yes\n")
    with pytest.raises(UserError, match=r"scene \d+ of seed 0: the answer 'no' is not in"):
        make_plan(tmp_path, data__task="presence", closed=str(tmp_path / "set.txt"))


def test_left_out_layers(tmp_path):
    one = make_plan(tmp_path, prompt__layers="top-1", prompt__cross=2)
    assert one.sizes.prompt.encoder.left_out == (0,)
    assert one.sizes.prompt.decoder.left_out == () and one.sizes.prompt.cross.tokens == 2


def test_a_table_is_cut_once():
    rows = examples(*(((str(i),), (str(i),)) for i in range(10)))
    tune, test = finding.split(rows, 0.2, seed=0)
    assert len(tune) == 8 and len(test) == 2
    assert sorted(tune.rows + test.rows) == sorted(rows.rows)
    for part in (tune, test):
        greys = part.read(np.arange(len(part)))[:, 0, 0, 0].tolist()
        assert [int(texts[0]) for texts in part.texts] == greys
    assert tune.fingerprint != test.fingerprint != rows.fingerprint
    again = finding.split(rows, 0.2, seed=0)[1]
    assert again.rows == test.rows and again.fingerprint == test.fingerprint
    with pytest.raises(UserError, match="the only example"):
        finding.split(rows.subset(np.array([0])), 0.2, 0)

"""Answers by beam search equal a search by hand, and each example gets its own prefix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.models.prefixes import Prefixes, together
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.models.specials import END, PAD
from maskgit_prompt.tasks.multimodal.answering import Answerer
from maskgit_prompt.tasks.multimodal.tuning import Held, first_tree
from tests.tasks.multimodal.made import make_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(tmp_path_factory.mktemp("answering"), data__task="colour", prompt__std=1.0)


def by_hand(plan, tree) -> list[str]:
    """The closed answer whose tokens have the largest mean log-probability, of each example."""
    texts = []
    images = plan.test.examples.read(np.arange(len(plan.test)))
    for answer in plan.answers:
        ids = plan.words.target(answer)
        target = np.array([ids] * len(plan.test))
        batch = {"images": images, "source": plan.test.sources, "target": target}
        logits = jax.jit(plan.model.logits)(tree, batch)
        # Every colour is one token here, so what is allowed is the set, and then </s> alone.
        texts.append(np.asarray(logits[:, 0, ids[0]]))
    return [plan.answers[i] for i in np.argmax(texts, axis=0)]


def test_closed_answers_are_the_likeliest(plan):
    tree = first_tree(plan)
    assert all(len(plan.words.target(answer)) == 2 for answer in plan.answers)
    found = Held(plan).answers(tree)
    assert found.texts == by_hand(plan, tree)
    assert (found.scores < 0).all() and found.scores.shape == (6,)


def test_the_number_of_examples_at_once_changes_nothing(plan):
    tree = first_tree(plan)
    held = Held(plan)
    answer = Answerer(
        plan.model, plan.words.tokenizer, plan.search, plan.constraint, plan.mesh, size=4
    )
    few = answer(tree, held.pictures, plan.test.sources)
    whole = held.answers(tree)
    assert few.texts == whole.texts
    np.testing.assert_allclose(few.scores, whole.scores, atol=1e-4)


def test_each_question_goes_with_its_picture(plan):
    tree, held = first_tree(plan), Held(plan)
    whole = held.answers(tree).scores
    assert np.ptp(whole) > 1e-3
    for row in range(len(plan.test)):
        sources = plan.test.sources[row : row + 1]
        alone = held._answer(tree, lambda rows, row=row: held.pictures(rows + row), sources).scores
        np.testing.assert_allclose(alone, whole[row : row + 1], atol=1e-4)


def test_each_example_is_answered_with_its_own_prefix(plan):
    rng = np.random.default_rng(0)
    cfg = plan.backbone.part("multimodal").cfg
    tree, held = first_tree(plan), Held(plan)

    def prefix(tokens: int, scale: float) -> Prefixes:
        shape = (len(plan.test), cfg.layers[0], 2, tokens, cfg.width)
        one = jnp.asarray(scale * rng.standard_normal((1, *shape[1:])), jnp.float32)
        return Prefixes(encoder=Prompt(prefix=jnp.broadcast_to(one, shape)))

    first, second = prefix(2, 5.0), prefix(4, 5.0)
    alone = [
        held._answer(tree, held.pictures, plan.test.sources, together([one])).scores
        for one in (first, second)
    ]
    assert np.abs(alone[0] - alone[1]).max() > 1e-4
    every = np.arange(len(plan.test))
    mixed = together([first[every[:3]], second[every[3:]]])
    found = held._answer(tree, held.pictures, plan.test.sources, mixed).scores
    np.testing.assert_allclose(found[:3], alone[0][:3], atol=1e-4)
    np.testing.assert_allclose(found[3:], alone[1][3:], atol=1e-4)


def test_padding_and_ends_are_not_read_out(plan):
    decode = plan.words.tokenizer.decode
    red = plan.words.target("red")
    assert decode([*red, PAD, PAD]).strip() == "red" and red[-1] == END

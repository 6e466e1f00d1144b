"""The held-out loss, by the loss of each example alone."""

import jax
import numpy as np
import pytest

from maskgit_prompt.tasks.multimodal import tuning
from maskgit_prompt.tasks.multimodal.model import LossConfig, answer_sums
from maskgit_prompt.tasks.multimodal.tuning import Held, constraint_of_loss, first_tree
from tests.tasks.multimodal.made import make_plan


@pytest.mark.parametrize("closed", [True, False])
def test_the_held_out_loss_counts_every_example_once(tmp_path, closed):
    plan = make_plan(tmp_path, data__task="colour", score__batch_size=4, loss__closed=closed)
    tree, held = first_tree(plan), Held(plan)
    constraint = constraint_of_loss(plan)
    assert (constraint is None) == (not closed)
    run = jax.jit(
        lambda tree, batch: answer_sums(plan.model, LossConfig(), tree, batch, constraint)
    )
    each = []
    for row in range(len(plan.test)):
        batch = {
            "images": held.pictures(np.array([row])),
            "source": plan.test.sources[[row]],
            "target": np.array([plan.test.targets[row][0]]),
        }
        each.append(float(run(tree, batch).nll))
    # Two tokens each: the colour and </s>, which a closed set makes certain.
    found = tuning._heldout(plan, held)(tree)
    assert found == pytest.approx(np.sum(each) / (2 * len(plan.test)), rel=1e-4)
    if closed:
        assert found == pytest.approx(np.log(8) / 2, abs=0.2)


def test_a_text_to_start_from_sets_the_first_keys_and_values(tmp_path):
    text = "is there a red circle in it?"
    changes = {"prompt__start_text": text, "data__task": "presence"}
    one, other = (make_plan(tmp_path, **(changes if i else {})) for i in (1, 0))
    found = [first_tree(plan)["prompt"]["places"]["encoder"]["positions"] for plan in (one, other)]
    assert np.abs(np.asarray(found[0] - found[1])).max() > 1e-3
    again = first_tree(one)["prompt"]["places"]["encoder"]["positions"]
    np.testing.assert_array_equal(found[0], again)

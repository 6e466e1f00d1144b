"""The losses of prompt tuning and of pretraining, in odds that a reader can multiply.

The last tests are of a transformer whose losses nobody knows by hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskgit_prompt.decoding import schedules
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.tasks.generation.loss import class_loss, prompt_loss
from maskgit_prompt.tasks.generation.objectives import Masking
from tests import training
from tests.tasks.generation import odds

PLAIN, FIRST = odds.transformer(), odds.Hide()  # the first code is hidden


def loss(
    class_id: int,
    instance_id: int,
    codes=(0, 1),
    objective=FIRST,
    rows: int = 1,
    seed: int = 0,
    transformer=PLAIN,
    **prompt,
) -> float:
    """The prompt loss of equal rows; classes have odds 1, 3 and instances odds 1, 5, 7."""
    loss_fn = prompt_loss(transformer, odds.generator(**prompt), objective)
    batch = {
        "codes": jnp.array([codes] * rows),
        "class_ids": jnp.full(rows, class_id),
        "instance_ids": jnp.full(rows, instance_id),
    }
    value, _ = loss_fn(odds.parameters(), batch, jax.random.key(seed))
    return float(value)


@pytest.mark.parametrize(
    ("class_id", "instance_id", "expected"),
    [
        (1, 0, np.log(4 / 3)),  # odds 3 · 1; with the ids exchanged 1 · 5
        (0, 2, np.log(8 / 7)),  # 1 · 7
        (1, 2, np.log(22 / 21)),  # 3 · 7
        (1, NONE, np.log(4 / 3)),
        (NONE, 2, np.log(8 / 7)),
        (NONE, NONE, np.log(2)),
    ],
)
def test_the_prompt_is_that_of_class_and_instance(class_id, instance_id, expected):
    assert loss(class_id, instance_id) == pytest.approx(expected, rel=1e-5)


def test_a_class_is_dropped_at_the_rate_of_classes():
    assert loss(1, 2, drop_class=1.0) == pytest.approx(np.log(8 / 7), rel=1e-5)


def test_an_instance_is_dropped_at_the_rate_of_instances():
    assert loss(1, 2, drop_instance=1.0) == pytest.approx(np.log(4 / 3), rel=1e-5)


def test_rows_are_dropped_one_by_one_and_by_the_key():
    found = [loss(1, NONE, rows=64, drop_class=0.5, seed=seed) for seed in (0, 0, 1)]
    # k rows of 64 have lost their class, whose odds are 3.
    lost = (found[0] - np.log(4 / 3)) / (np.log(2) - np.log(4 / 3)) * 64
    assert lost == pytest.approx(round(lost), abs=1e-3) and 16 < lost < 48
    assert found[0] == found[1] != found[2]


def test_prompt_tokens_have_dropout():
    # Of the log odds ln 3 half are dropped, to ln 1, and the others doubled, to ln 9.
    found = loss(1, NONE, rows=64, dropout=0.5)
    lost = (found - np.log(10 / 9)) / (np.log(2) - np.log(10 / 9)) * 64
    assert lost == pytest.approx(round(lost), abs=1e-3) and 16 < lost < 48


def test_the_transformer_has_dropout():
    transformer = odds.transformer(dropout=True)
    assert loss(1, 2, transformer=transformer) == pytest.approx(np.log(2), rel=1e-5)


def test_hidden_codes_alone_count_and_are_not_seen():
    # Odds 3 and the codes 0, 1, 1, 0; a code that is seen has loss 0.
    first, last_two = odds.Hide(((0,),)), odds.Hide(((2, 3),))
    codes = (0, 1, 1, 0)
    assert loss(1, 0, codes, first) == pytest.approx(np.log(4 / 3), rel=1e-5)
    mean = (np.log(4) + np.log(4 / 3)) / 2
    assert loss(1, 0, codes, last_two) == pytest.approx(mean, rel=1e-5)


def test_label_smoothing_is_the_objectives():
    # Targets 0.75 and 0.25 of the two codes, probabilities 3/4 and 1/4.
    expected = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    assert loss(1, 0, objective=odds.Hide(smoothing=0.5)) == pytest.approx(expected, rel=1e-5)


# --- Pretraining ---------------------------------------------------------------------------------


def pretraining_loss(objective, codes=(0, 1), dropout: bool = False, rows: int = 1) -> float:
    """Of class 1, whose odds are 3 without a prompt."""
    loss_fn = class_loss(odds.transformer(dropout=dropout), objective)
    batch = {"codes": jnp.array([codes] * rows), "class_ids": jnp.ones(rows, jnp.int32)}
    return float(loss_fn(odds.parameters(), batch, jax.random.key(0))[0])


def test_pretraining_is_under_the_models_own_class():
    assert pretraining_loss(odds.Hide()) == pytest.approx(np.log(4 / 3), rel=1e-5)
    assert pretraining_loss(odds.Hide(drop_class=1.0)) == pytest.approx(np.log(2), rel=1e-5)
    assert pretraining_loss(odds.Hide(), dropout=True) == pytest.approx(np.log(2), rel=1e-5)


def test_pretraining_smooths_labels_and_counts_hidden_codes_alone():
    expected = 0.75 * np.log(4) + 0.25 * np.log(4 / 3)  # of code 1
    found = pretraining_loss(odds.Hide(((1,),), smoothing=0.5))
    assert found == pytest.approx(expected, rel=1e-5)


def test_pretraining_drops_its_share_of_classes():
    found = pretraining_loss(odds.Hide(drop_class=0.25), rows=64)
    lost = (found - np.log(4 / 3)) / (np.log(2) - np.log(4 / 3)) * 64
    assert lost == pytest.approx(round(lost), abs=1e-3) and 6 < lost < 28


# --- A real transformer -------------------------------------------------------------------------


def test_losses_of_a_model_that_knows_nothing():
    transformer, prompt, tree = training.models()
    tree = jax.tree.map(np.copy, tree)
    # Words of zeros and no bias: all 24 codes are equally likely, whatever is hidden.
    tree["transformer"]["words"][:] = 0
    tree["transformer"]["head"]["bias"][:] = 0
    masking = Masking(schedules.schedule("cosine"), smoothing=0.1)
    rows, key = training.batch(0), jax.random.key(0)
    for loss_fn in (
        prompt_loss(transformer, prompt, masking),
        class_loss(transformer, masking),
    ):
        found, _ = jax.jit(loss_fn)(tree, rows, key)
        np.testing.assert_allclose(found, np.log(24), rtol=1e-5)


def test_classes_are_dropped_in_pretraining():
    transformer, _, tree = training.models()
    rows, key = training.batch(0), jax.random.key(0)
    without = {**rows, "class_ids": np.full_like(rows["class_ids"], NONE)}

    @jax.jit
    def dropping(share, rows):
        masking = Masking(schedules.schedule("cosine"), drop_class=share)
        return class_loss(transformer, masking)(jax.tree.map(jnp.asarray, tree), rows, key)[0]

    assert dropping(1.0, rows) == dropping(0.0, without)
    assert abs(dropping(0.0, rows) - dropping(0.0, without)) > 1e-3

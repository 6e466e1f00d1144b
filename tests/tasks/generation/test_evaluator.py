"""The loss that an evaluation reports: by hand, and the same on any number of devices."""

import jax
import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.config import defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prompt import AXES, PromptConfig, PromptGenerator
from maskgit_prompt.tasks.generation import evaluator
from maskgit_prompt.tasks.generation.objectives import make_objective
from tests import tiny, training
from tests.tasks.generation import odds

# --- By hand -------------------------------------------------------------------------------------


def made(objective, rounds: int = 1, seed: int = 0, **prompt):
    """A function (codes [n, L], labels [n]) -> loss; classes have odds 1, 3, instances 5."""
    config = defaults.transfer()
    config.score.rounds, config.seed = rounds, seed
    evaluate = evaluator.make_evaluator(
        config,
        objective,
        odds.transformer(dropout=True),
        odds.generator(**prompt),
        training.mesh(),
    )
    tree = jax.device_put(odds.parameters(instances=(5, 5, 5)))
    return lambda codes, labels: evaluate(
        tree, np.array(codes, np.int32), np.array(labels, np.int32)
    )


def test_the_loss_is_of_the_hidden_codes_under_the_class():
    # Two of four codes are hidden, 0 and 1. Odds 3: ln 4/3 and ln 4; odds 1: ln 2 and ln 2.
    evaluate = made(odds.Hide(((0, 1),)))
    of_three = (np.log(4 / 3) + np.log(4)) / 2
    assert evaluate([[0, 1, 1, 1]], [1]) == pytest.approx(of_three, rel=1e-5)
    assert evaluate([[0, 1, 1, 1]], [0]) == pytest.approx(np.log(2), rel=1e-5)


def test_nothing_is_dropped_and_labels_are_not_smoothed():
    objective = odds.Hide(smoothing=0.5, drop_class=1.0)
    evaluate = made(objective, drop_class=1.0, drop_instance=1.0, dropout=0.5)
    assert evaluate([[0, 1]], [1]) == pytest.approx(np.log(4 / 3), rel=1e-5)


def test_rounds_count_alike_however_much_they_hide():
    # Round 0 hides code 0 alone, round 1 the codes 1, 1, 0.
    evaluate = made(odds.Hide(((0,), (1, 2, 3))), rounds=2)
    second = (2 * np.log(4) + np.log(4 / 3)) / 3
    expected = (np.log(4 / 3) + second) / 2
    assert evaluate([[0, 1, 1, 0]], [1]) == pytest.approx(expected, rel=1e-5)


def test_images_have_their_own_labels_and_count_once_in_any_chunks(monkeypatch):
    # Chunks of two and a last one of a single image, which is padded.
    monkeypatch.setattr(evaluator, "ROWS", 2)
    codes, labels = [[0, 0], [0, 0], [1, 0], [1, 0], [1, 0]], [0, 1, 1, 1, 0]
    expected = (np.log(2) + np.log(4 / 3) + 2 * np.log(4) + np.log(2)) / 5
    assert made(odds.Hide())(codes, labels) == pytest.approx(expected, rel=1e-5)


def test_chunks_draw_for_themselves_and_calls_draw_the_same(monkeypatch):
    monkeypatch.setattr(evaluator, "ROWS", 1)
    evaluate = made(odds.HideDrawn())
    found = evaluate([[0, 1]] * 16, [1] * 16)
    # k of 16 images hide code 0, the others code 1.
    hidden = (np.log(4) - found) / (np.log(4) - np.log(4 / 3)) * 16
    assert hidden == pytest.approx(round(hidden), abs=1e-3) and 0 < round(hidden) < 16
    assert evaluate([[0, 1]] * 16, [1] * 16) == found


def test_rounds_draw_for_themselves():
    found = made(odds.HideDrawn(), rounds=16)([[0, 1]], [1])
    hidden = (np.log(4) - found) / (np.log(4) - np.log(4 / 3)) * 16
    assert hidden == pytest.approx(round(hidden), abs=1e-3) and 0 < round(hidden) < 16


def test_what_is_drawn_is_of_the_seed():
    # Seed 20, and 5 more for evaluations; chunk 0, round 0. That place alone holds code 1.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(25), 0), 0)
    codes = np.zeros((1, 100))
    codes[0, jax.random.randint(key, (), 0, 100)] = 1
    found = made(odds.HideDrawn(), seed=20)(codes, [1])
    assert found == pytest.approx(np.log(4), rel=1e-5)


def test_as_many_rounds_as_asked_for_and_fewer_of_many_images(monkeypatch):
    # Round 0 hides code 0, all others code 1. For 2 images 4 draws are 2 each, 3 draws are 1 each.
    first, others = np.log(4 / 3), np.log(4)
    evaluate = made(odds.Hide(((0,), (1,), (1,), (1,))), rounds=4)
    found = {evaluator.DRAWS: evaluate([[0, 1]] * 2, [1, 1])}
    expected = {evaluator.DRAWS: (first + 3 * others) / 4, 4: (first + others) / 2, 3: first}
    for draws in (4, 3):
        monkeypatch.setattr(evaluator, "DRAWS", draws)
        found[draws] = evaluate([[0, 1]] * 2, [1, 1])
    assert found == pytest.approx(expected, rel=1e-5)


def test_large_images_are_scored_few_at_once(monkeypatch):
    seen, real = [], sharding.to_global
    spy = lambda batch, mesh: seen.append(len(batch["codes"])) or real(batch, mesh)
    monkeypatch.setattr(sharding, "to_global", spy)
    monkeypatch.setattr(evaluator, "CODES", 13)  # 3 images of 4 codes
    made(odds.Hide())([[0, 1, 1, 1]] * 7, [1] * 7)
    assert seen == [3, 3, 3]


def test_no_images_no_loss():
    assert made(odds.Hide())(np.zeros((0, 2)), []) is None


# --- On several devices --------------------------------------------------------------------------


def loss_on(devices: int, count: int, rows: int, monkeypatch) -> float:
    monkeypatch.setattr(evaluator, "ROWS", rows)
    config = defaults.transfer()
    config.score.rounds = 2
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    part = tiny.backbone().part("transformer")
    cfg = PromptConfig(tokens=2, width=part.cfg.width, classes=10)
    generator, init = params.create(lambda rngs: PromptGenerator(cfg, rngs=rngs))
    drawn = jax.device_get(init(jax.random.key(0)))
    tree = {"transformer": part.placed(mesh), "prompt": sharding.place(drawn, mesh, AXES)}
    objective = make_objective(config, part.decoding, part.cfg.codebook)
    model = part.graphdef()
    evaluate = evaluator.make_evaluator(config, objective, model, generator, mesh)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, part.cfg.codebook, (count, part.cfg.length)).astype(np.int32)
    labels = np.arange(count, dtype=np.int32) % 10
    return evaluate(tree, codes, labels)


@pytest.mark.parametrize("count, rows", [(11, 4), (3, 64)])
def test_one_device_equals_several(count, rows, monkeypatch):
    # Of 11 images chunks of 4, 4 and 3; on 8 devices each is padded to 8, on 3 devices to 6 and 3.
    found = [loss_on(devices, count, rows, monkeypatch) for devices in (1, 3, 8)]
    np.testing.assert_allclose(found, found[0], rtol=1e-6)

"""Of which classes, and under which prompts, images are generated; stubs.py makes them."""

import types

import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import NONE
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation.images import (
    TunedSampler,
    classes_to_draw,
    marquee_of,
    untuned_images,
)
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.sampling import make_prompts
from tests.tasks.generation import stubs
from tests.tasks.generation.stubs import shades

THREE = ("dark", "grey", "light")


def of_classes(*labels: int) -> list[tuple[int, int]]:
    return [(10, label) for label in labels]


# --- Classes -------------------------------------------------------------------------------------


def test_so_many_images_of_each_class_that_is_tuned_on():
    data = stubs.data(THREE, tune=of_classes(2, 0, 0), reference=of_classes(0, 1, 1, 1, 2))
    found = classes_to_draw(stubs.plan(data, score__per_class=3))
    assert found.tolist() == [0, 0, 0, 2, 2, 2]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    "images, tune, reference, drawn",
    [
        pytest.param(4, (0, 1), (0, 0, 0, 0, 0, 0, 1, 1), [0, 0, 0, 1], id="six-and-two-of-eight"),
        pytest.param(4, (0, 0, 0, 1), (0, 1, 1, 1), [0, 1, 1, 1], id="of-the-reference-not-tuned"),
        pytest.param(90, (0, 1), (0, 0, 1), [0, 0, 1], id="no-more-than-the-reference"),
        pytest.param(4, (0, 2), (0, 0, 1, 2), [0, 0, 2], id="grey-is-not-tuned-on"),
        pytest.param(3, (0, 1, 2), (0, 2, 2), [0, 2, 2], id="grey-is-not-in-the-reference"),
    ],
)
def test_images_in_the_proportions_of_the_reference(images, tune, reference, drawn):
    data = stubs.data(THREE, tune=of_classes(*tune), reference=of_classes(*reference))
    found = classes_to_draw(stubs.plan(data, score__images=images))
    assert found.tolist() == drawn


def test_no_class_to_draw_is_an_error():
    data = stubs.data(THREE, tune=of_classes(0), reference=of_classes(1, 2))
    message = (
        "shades: no class has images both to tune on and among the old ones; choose other splits, "
        "or config.score.images = 0"
    )
    with pytest.raises(UserError, match=message):
        classes_to_draw(stubs.plan(data, score__images=5))


# --- Without tuning ------------------------------------------------------------------------------


def test_untuned_images_are_of_the_backbones_own_classes(monkeypatch):
    """Sixty of seven classes: each occurs, in an order of its own for each seed."""
    made = stubs.use_sampler(monkeypatch)
    draw = lambda seed: untuned_images(stubs.plan(stubs.data(), seed=seed), 60)
    assert shades(draw(0)) == [200] * 60
    draw(0)
    draw(1)
    first, again, other = (sampler.own for sampler in made)
    assert set(first) == set(range(7))
    assert first != sorted(first)
    assert first == again != other
    assert all(sampler.transformer is None and sampler.prompt is None for sampler in made)


def test_untuned_images_of_a_backbone_without_classes(monkeypatch):
    made = stubs.use_sampler(monkeypatch)
    monkeypatch.setattr(stubs.StubSampler, "classes", 0)
    untuned_images(stubs.plan(stubs.data()), 3)
    assert made[0].own == [NONE, NONE, NONE]


# --- Marquee -------------------------------------------------------------------------------------

# Three classes, of which grey is not tuned on; of dark the first image is the second, "20", of
# light the first, "220". The third and fourth have prompts that nothing asks for.
TUNE = [(224, 2), (25, 0), (33, 0), (240, 2)]
CLASS_PROMPTS = [122, 77, 16]
INSTANCE_PROMPTS = [220 - 16, 20 - 122, 1, 2]
NINE = Prompt(tokens=np.full((1, 1, 1), 9.0))


class ReadsAt120:
    """A scorer that takes shades below 120 for dark and others for light."""

    def accuracy(self, images, labels):
        return float(np.mean(np.where(images[:, 0, 0, 0] < 120, 0, 2) == labels))


def marquee(monkeypatch, **changes):
    """(strip, rows, the sampler's calls) at cutoffs 0.5 and 1, two images each."""
    stubs.use_sampler(monkeypatch, diverse=True)
    data = stubs.data(THREE, tune=TUNE)
    plan = stubs.plan(
        data, **{"score__marquee_images": 2, "score__marquee_cutoffs": (0.5, 1.0)} | changes
    )
    prompts = make_prompts(plan.prompt_config, stubs.prompt_tree(CLASS_PROMPTS, INSTANCE_PROMPTS))
    sampler = stubs.StubSampler(plan.backbone, plan.mesh, plan.decode_config)
    tuned = TunedSampler(sampler, prompts, NINE)
    strip, rows = marquee_of(plan, stubs.encoded(data), tuned, ReadsAt120())
    return strip, rows, sampler.calls


def test_marquee_goes_from_the_class_to_the_instance(monkeypatch):
    """A row for each class, dark and light: the decoded instance, then the first image at each
    cutoff. Dark's prompt is 122 and its instance's 20, light's 16 and 220; cutoff 0.5 is half way.
    """
    strip, _, _ = marquee(monkeypatch)
    assert shades(strip[0]) == [20, 122, 71, 20]
    assert shades(strip[1]) == [220, 16, 118, 220]


def test_marquee_scores_by_hand(monkeypatch):
    """
    cutoff   dark, light     to the instance, in 255ths   pairs   read as their class
    0      122 224, 16 118   102 204, 204 102             102     none
    0.5     71 122, 118 169   51 102, 102 51               51     71 and 169
    1       20 20, 220 220     0 0, 0 0                      0     all
    """
    _, rows, _ = marquee(monkeypatch)
    expected = [(0.0, 0.4, 0.6, 0.0), (0.5, 0.2, 0.3, 0.5), (1.0, 0.0, 0.0, 1.0)]
    names = ("cutoff", "diversity", "distance_to_instance", "accuracy")
    assert [tuple(row) for row in rows] == [names] * 3
    np.testing.assert_allclose([tuple(row.values()) for row in rows], expected, atol=1e-12)


def test_marquee_headers_begin_with_the_instance_and_end_with_the_class(monkeypatch):
    _, _, calls = marquee(monkeypatch)
    headers = [call.headers.tolist() for call in calls]
    assert headers[0] == [[122], [122], [16], [16]]
    assert headers[1] == headers[2] == [[20, 122], [20, 122], [220, 16], [220, 16]]
    assert [call.cutoff for call in calls] == [1.0, 0.5, 1.0]
    assert all(call.uncond is NINE for call in calls)


def test_marquee_has_the_same_noise_at_every_cutoff(monkeypatch):
    _, _, calls = marquee(monkeypatch)
    assert calls[0].key == calls[1].key == calls[2].key


def test_a_marquee_of_one_image_has_no_diversity(monkeypatch):
    strip, rows, _ = marquee(monkeypatch, score__marquee_images=1)
    assert strip.shape[:2] == (2, 4)
    assert [row["diversity"] for row in rows] == [None] * 3


@pytest.mark.parametrize("changes", [{"score__marquee_images": 0}, {"prompt__instances": False}])
def test_no_marquee(changes):
    nothing = types.SimpleNamespace()  # nothing is asked of any of them
    plan = Plan(stubs.config(**changes), *[nothing] * 4)
    assert marquee_of(plan, *[nothing] * 3) == (None, [])

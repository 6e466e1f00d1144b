"""What is found of tuned prompts, with a backbone of random weights and prompts in digits."""

import dataclasses

import jax
import numpy as np
import pytest

from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prompt import NONE, PromptConfig
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation import prompt_analysis
from maskgit_prompt.tasks.generation.prompt_analysis import analyse
from tests import tiny
from tests.tasks.generation import stubs

THREE = ("dark", "grey", "light")
# Class 0 at 0, class 1 at 4, class 2 at 5; images near their classes, but the last near class 0.
OF_CLASS, OF_IMAGE = (0.0, 4.0, 5.0), (0.1, 0.2, 4.1, 4.2, -0.1)
LABELS = (0, 0, 1, 1, 2)


class Codes:
    """As Encoded: image `row` has the code row % 24 everywhere."""

    def plain(self, rows):
        return np.tile(np.asarray(rows, np.int32)[:, None] % 24, (1, 16))


def prompts(class_ids, instance_ids=None) -> Prompt:
    """Two tokens of 16 equal numbers: the class's plus the image's."""
    found = np.where(class_ids == NONE, 0.0, np.float32(OF_CLASS)[class_ids])
    if instance_ids is not None:
        found = found + np.float32(OF_IMAGE)[instance_ids]
    return Prompt(tokens=np.tile(np.float32(found)[:, None, None], (1, 2, 16)))


def plan(kind: str = "masked", mesh=None, instances: int = 5):
    found = stubs.plan(stubs.data(THREE, tune=[(10, label) for label in LABELS]))
    cfg = PromptConfig(kind="table", tokens=2, width=16, classes=3, instances=instances)
    return dataclasses.replace(
        found, backbone=tiny.backbone(kind=kind), prompt_config=cfg, mesh=mesh or stubs.mesh()
    )


def found_of(one, prompts=prompts):
    return analyse(one, Codes(), prompts, one.backbone.part("transformer").placed(one.mesh))


def test_classes_and_images_lie_as_their_prompts_do():
    found = found_of(plan())
    np.testing.assert_allclose(found.apart, [[0, 4, 5], [4, 0, 1], [5, 1, 0]], atol=1e-6)
    json = found.to_json(THREE)
    assert json["distance"] == pytest.approx(10 / 3)
    assert {name: x["class"] for name, x in json["nearest"].items()} == {
        "dark": "grey",
        "grey": "light",
        "light": "grey",
    }
    # Four of five are nearest to their own; of ten pairs two are of one class.
    assert found.alike == pytest.approx((4 / 5, 2 / 10))
    assert found.owners.tolist() == list(LABELS)
    order = np.argsort(found.principal[:, 0])
    if found.principal[0, 0] > found.principal[2, 0]:
        order = order[::-1]
    assert order.tolist() == [7, 0, 3, 4, 1, 5, 6, 2]
    np.testing.assert_allclose(found.principal[:, 1], 0, atol=1e-4)
    assert found.neighbours is None  # eight points


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_attention_to_each_token_by_row(kind):
    """As the transformer's own weights, which tests/models/test_attention.py holds, by row."""
    one = plan(kind)
    found = found_of(one).attention
    assert found.shape == (2, 2, 4)
    # Random weights of 0.02: all tokens are looked at alike, those that a code sees.
    if kind == "masked":
        np.testing.assert_allclose(found, 1 / 18, rtol=0.05)
    else:
        # Code i, 0 to 15, is predicted where 2 + i tokens are seen.
        rows = (1 / (2 + np.arange(16))).reshape(4, 4).mean(1)
        np.testing.assert_allclose(found[1], np.tile(rows, (2, 1)), rtol=0.05)


def test_what_is_seen_changes_with_the_prompt():
    one, far = plan(), lambda *ids: jax.tree.map(lambda x: 50 * x + 1, prompts(*ids))
    assert not np.allclose(found_of(one).attention, found_of(one, far).attention, rtol=1e-3)


def test_without_prompts_of_images_there_are_classes_alone():
    found = found_of(plan(instances=0))
    assert len(found.owners) == 0 and found.principal.shape == (3, 2)
    json = found.to_json(THREE)
    assert "images_alike" not in json and len(json["attention"]) == 2
    assert json["attention"][0] == pytest.approx(2 / 18, rel=0.05)


def test_on_eight_devices_the_same():
    one = found_of(plan())
    other = found_of(plan(mesh=sharding.make_mesh(fsdp=2)))
    np.testing.assert_allclose(other.attention, one.attention, rtol=1e-5)
    np.testing.assert_array_equal(other.principal, one.principal)


def test_of_large_prompts_some_classes_are_compared(monkeypatch):
    monkeypatch.setattr(prompt_analysis, "NUMBERS", 2 * 2 * 16)
    found = found_of(plan())
    assert found.classes.tolist() == [0, 2]
    assert found.to_json(THREE)["nearest"]["light"] == {"class": "dark", "distance": 5.0}
    assert found.owners.tolist() == [0, 2]


def test_few_images_are_of_first_and_last_classes_alike(monkeypatch):
    seen = []

    class Seen(Codes):
        def plain(self, rows):
            seen.extend(one.data.labels(rows).tolist())
            return super().plain(rows)

    monkeypatch.setattr(prompt_analysis, "LOOKING", 2)
    one = plan()
    analyse(one, Seen(), prompts, one.backbone.part("transformer").placed(one.mesh))
    assert seen == [0, 2]


def test_pictures_for_the_report():
    drawn = found_of(plan()).draw(THREE)
    assert set(drawn) == {"prompt-places", "prompt-attention"}
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())

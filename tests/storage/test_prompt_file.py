"""Prompt files: what is written is read, under the names that files of users have."""

import dataclasses
import json
import re

import numpy as np
import pytest
import safetensors

from maskgit_prompt import backbones
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tuning import prompt_file

PROMPT = prompt_file.PromptFile(
    cfg=PromptConfig("table", tokens=1, width=2, classes=2, instances=3),
    tree={
        "positions": np.array([[1.0, 2.0]], np.float32),
        "classes": np.array([[[3.0, 4.0]], [[5.0, 6.0]]], np.float32),
        "instances": np.array([[[7.0, 8.0]], [[9.0, 10.0]], [[11.0, 12.0]]], np.float32),
    },
    classes=("cat", "dog"),
    instances=("a.png", "b.png", "c.png"),
    instance_classes=(1, 0, 1),
    backbone="tiny",
    fingerprint="f00d",
    sample={"steps": 3, "temperature": 0.5},
    scores={"accuracy": {"prompt": 0.75, "untuned": 0.15}, "loss": {"train": 1.5, "heldout": 2.5}},
)


@pytest.fixture
def path(tmp_path):
    prompt_file.save(tmp_path / "prompt.safetensors", PROMPT)
    return tmp_path / "prompt.safetensors"


def test_what_is_saved_is_loaded(path):
    found = prompt_file.load(path)
    for name in ("positions", "classes", "instances"):
        np.testing.assert_array_equal(found.tree[name], PROMPT.tree[name])
    assert found.tree.keys() == PROMPT.tree.keys()
    assert dataclasses.replace(found, tree={}) == dataclasses.replace(PROMPT, tree={})


def test_names_in_the_file(path):
    """Files that users have are read by these; a new name for a field is a new format."""
    with safetensors.safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["maskgit_prompt"])
        positions = file.get_tensor("positions")
    cfg = header.pop("cfg")
    assert header == {
        "format": 1,
        "classes": ["cat", "dog"],
        "instances": ["a.png", "b.png", "c.png"],
        "instance_classes": [1, 0, 1],
        "backbone": "tiny",
        "fingerprint": "f00d",
        "sample": {"steps": 3, "temperature": 0.5},
        "scores": {
            "accuracy": {"prompt": 0.75, "untuned": 0.15},
            "loss": {"train": 1.5, "heldout": 2.5},
        },
    }
    assert (cfg["kind"], cfg["tokens"], cfg["width"]) == ("table", 1, 2)
    assert (cfg["classes"], cfg["instances"]) == (2, 3)
    assert positions.tolist() == [[1.0, 2.0]]


def test_a_prompt_is_of_its_own_backbone_alone():
    here = backbones.Backbone("tiny", {}, fingerprint="f00d")
    prompt_file.check_backbone(PROMPT, here, "p")
    prompt_file.check_backbone(PROMPT, dataclasses.replace(here, name="other"), "p")
    other = backbones.Backbone("large", {}, fingerprint="beef")
    message = (
        "p was tuned on 'tiny' with fingerprint f00d, but config.backbone is 'large' with "
        "fingerprint beef; use the backbone it was tuned on"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        prompt_file.check_backbone(PROMPT, other, "p")


def test_a_tree_of_other_sizes_is_refused(tmp_path):
    wrong = dataclasses.replace(PROMPT, cfg=dataclasses.replace(PROMPT.cfg, classes=3, instances=2))
    prompt_file.save(tmp_path / "p", wrong)
    with pytest.raises(UserError, match=r"classes: \(2, 1, 2\), expected \(3, 1, 2\)"):
        prompt_file.load(tmp_path / "p")

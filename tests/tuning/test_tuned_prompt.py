"""Prompt files: what is written is read, under the names that files of users have."""

import dataclasses
import json
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from maskgit_prompt import backbones
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt

# The first digits of the SHA-256 of "[vq, masked]" and of "[vq]".
FINGERPRINT, OF_TOKENIZER = "5fede84cc8087799", "a07b0e5e15586671"
BACKBONE = backbones.Backbone(
    "tiny", {}, identities={"tokenizer": "vq", "transformer": "masked", "features": "small"}
)
PROMPT = TunedPrompt(
    config=PromptConfig("table", tokens=1, width=2, classes=2, instances=3),
    tree={
        "positions": np.array([[1.0, 2.0]], np.float32),
        "classes": np.array([[[3.0, 4.0]], [[5.0, 6.0]]], np.float32),
        "instances": np.array([[[7.0, 8.0]], [[9.0, 10.0]], [[11.0, 12.0]]], np.float32),
    },
    classes=("cat", "dog"),
    backbone=TunedOn("tiny", FINGERPRINT, ("tokenizer", "transformer")),
    instances=("a.png", "b.png", "c.png"),
    instance_classes=(1, 0, 1),
    sample={"steps": 3, "temperature": 0.5},
    scores={"accuracy": {"prompt": 0.75, "untuned": 0.15}, "loss": {"train": 1.5, "heldout": 2.5}},
)
HEADER = {  # as files have it since the first version, beside "cfg"
    "format": 1,
    "classes": ["cat", "dog"],
    "instances": ["a.png", "b.png", "c.png"],
    "instance_classes": [1, 0, 1],
    "source": "tiny",
    "fingerprint": FINGERPRINT,
    "sample": {"steps": 3, "temperature": 0.5},
    "scores": {
        "accuracy": {"prompt": 0.75, "untuned": 0.15},
        "loss": {"train": 1.5, "heldout": 2.5},
    },
}


@pytest.fixture
def path(tmp_path):
    tuned_prompt.save(tmp_path / "prompt.safetensors", PROMPT)
    return tmp_path / "prompt.safetensors"


def header(path) -> dict:
    with safetensors.safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["maskgit_prompt"])


def assert_is_prompt(found: TunedPrompt) -> None:
    assert found.tree.keys() == PROMPT.tree.keys()
    for name in ("positions", "classes", "instances"):
        np.testing.assert_array_equal(found.tree[name], PROMPT.tree[name])
    assert dataclasses.replace(found, tree={}) == dataclasses.replace(PROMPT, tree={})


def test_what_is_saved_is_loaded(path):
    assert_is_prompt(tuned_prompt.load(path))


def test_names_in_the_file(path):
    """Files that users have are read by these, and earlier versions read these and no others."""
    found = header(path)
    cfg = found.pop("cfg")
    assert found == HEADER
    assert (cfg["kind"], cfg["tokens"], cfg["width"]) == ("table", 1, 2)
    assert (cfg["classes"], cfg["instances"]) == (2, 3)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.get_tensor("positions").tolist() == [[1.0, 2.0]]


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    """Its header and tensors, written by hand; no header named the parts of a backbone then."""
    cfg = {
        "kind": "table",
        "tokens": 1,
        "width": 2,
        "depth": 1,
        "classes": 2,
        "instances": 3,
        "embedding": 0,
        "dense": False,
        "factors": 1,
        "hidden": 0,
        "dropout": 0.0,
        "drop_class": 0.0,
        "drop_instance": 0.0,
        "prefix": False,
        "attention": "causal",
    }
    tensors = {
        "positions": np.array([[1.0, 2.0]], np.float32),
        "classes": np.array([[[3.0, 4.0]], [[5.0, 6.0]]], np.float32),
        "instances": np.array([[[7.0, 8.0]], [[9.0, 10.0]], [[11.0, 12.0]]], np.float32),
    }
    path = tmp_path / "old.safetensors"
    text = json.dumps({**HEADER, "cfg": cfg})
    safetensors.numpy.save_file(tensors, path, {"maskgit_prompt": text})
    found = tuned_prompt.load(path)
    assert_is_prompt(found)
    assert found.backbone == TunedOn("tiny", FINGERPRINT, ("tokenizer", "transformer"))
    found.backbone.check(BACKBONE, path)


def test_a_prompt_of_other_parts_names_them(tmp_path):
    made = TunedOn.of(BACKBONE, ("tokenizer",))
    assert made == TunedOn("tiny", OF_TOKENIZER, ("tokenizer",))
    tuned_prompt.save(tmp_path / "p", dataclasses.replace(PROMPT, backbone=made))
    assert header(tmp_path / "p")["parts"] == ["tokenizer"]
    assert tuned_prompt.load(tmp_path / "p").backbone == made


def with_identities(**identities: str) -> backbones.Backbone:
    return dataclasses.replace(BACKBONE, identities={**BACKBONE.identities, **identities})


def test_a_prompt_is_of_its_own_backbone_alone():
    PROMPT.backbone.check(BACKBONE, "p")
    PROMPT.backbone.check(dataclasses.replace(BACKBONE, name="other"), "p")
    other = dataclasses.replace(with_identities(transformer="causal"), name="large")
    message = (
        f"p was tuned on 'tiny' with fingerprint {FINGERPRINT}, but config.backbone is 'large' "
        "with fingerprint ed5511b3b07977ce; use the backbone it was tuned on"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        PROMPT.backbone.check(other, "p")


@pytest.mark.parametrize(
    "parts, changed, fits",
    [
        (("tokenizer", "transformer"), "features", True),
        (("tokenizer", "transformer"), "tokenizer", False),
        (("tokenizer",), "transformer", True),
        (("tokenizer",), "tokenizer", False),
    ],
)
def test_only_the_parts_that_a_prompt_depends_on_must_be_the_same(parts, changed, fits):
    prompt = dataclasses.replace(PROMPT, backbone=TunedOn.of(BACKBONE, parts))
    other = with_identities(**{changed: "another"})
    if fits:
        prompt.backbone.check(other, "p")
    else:
        with pytest.raises(UserError, match="use the backbone it was tuned on"):
            prompt.backbone.check(other, "p")


def test_a_tree_of_other_sizes_is_refused(tmp_path):
    config = dataclasses.replace(PROMPT.config, classes=3, instances=2)
    tuned_prompt.save(tmp_path / "p", dataclasses.replace(PROMPT, config=config))
    with pytest.raises(UserError, match=r"classes: \(2, 1, 2\), expected \(3, 1, 2\)"):
        tuned_prompt.load(tmp_path / "p")

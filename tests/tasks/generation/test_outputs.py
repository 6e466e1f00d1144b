"""prompt.safetensors of a run: what it names, and the command that samples from it again."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.tasks.generation.outputs import save_images, save_prompt
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from tests.tasks.generation import stubs

# Of a backbone with a trained transformer: the first digits of the SHA-256 of "[vq, trained]".
TRAINED = {"tokenizer": "vq", "transformer": "trained"}
FINGERPRINT = "96bc5d616ff99678"


def save(plan, tuned, home):
    """The prompt file that is written, and the command."""
    scores = {name: {} for name in ("accuracy", "frechet", "kid", "loss")}
    path, command = save_prompt(plan, tuned, scores, home)
    return tuned_prompt.load(path), command


def test_a_prompt_without_instances_names_none(tmp_path):
    cfg = stubs.prompt_config(classes=2, instances=0)
    plan = dataclasses.replace(stubs.plan(stubs.data()), prompt_config=cfg)
    tree = {name: x for name, x in stubs.tuned().prompt.items() if name != "instances"}
    found, command = save(plan, dataclasses.replace(stubs.tuned(), prompt=tree), tmp_path)
    assert (found.instances, found.instance_classes) == ((), ())
    assert found.classes == ("dark", "light")
    assert "--config.backbone" not in command  # of the embedded model


def test_the_command_names_the_backbone(tmp_path):
    plan = stubs.plan(stubs.data(), backbone="models/tiny")
    _, command = save(plan, stubs.tuned(), tmp_path)
    assert command.split()[-1] == "--config.backbone=models/tiny"


def test_a_trained_transformer_is_the_backbone_that_the_file_names(tmp_path, monkeypatch):
    saved = {}

    def save_backbone(backbone, folder):
        saved.update(backbone=backbone, folder=folder)
        return dataclasses.replace(backbone, identities=TRAINED)

    monkeypatch.setattr(backbones, "save", save_backbone)
    plan = stubs.plan(stubs.data(), trainable=("prompt/.*", "transformer/weight"))
    tuned = dataclasses.replace(stubs.tuned(), transformer={"weight": np.ones(1, np.float32)})
    found, command = save(plan, tuned, tmp_path)
    assert found.backbone == TunedOn("stub, tuned", FINGERPRINT, ("tokenizer", "transformer"))
    assert saved["folder"] == tmp_path / "backbone"
    assert command.split()[-1] == f"--config.backbone={tmp_path / 'backbone'}"
    # The trained weights are ones, those of the backbone zeros.
    np.testing.assert_array_equal(saved["backbone"].part("transformer").tree["weight"], np.ones(1))


def files(home):
    """Name and shade of each image."""
    found = sorted(home.glob("images/*/*.png"))
    shade = lambda path: int(np.asarray(Image.open(path))[0, 0, 0])
    return [(str(path.relative_to(home / "images")), shade(path)) for path in found]


CLASSES = np.array([0, 0, 0, 2, 2])
SHADES = np.full((5, 2, 2, 3), 1, np.uint8) * np.arange(5, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (5, [("a/00000.png", 0), ("a/00001.png", 1), ("a/00002.png", 2), ("c_/00000.png", 3)]),
        (4, [("a/00000.png", 0), ("a/00001.png", 1), ("c_/00000.png", 3), ("c_/00001.png", 4)]),
        (2, [("a/00000.png", 0), ("c_/00000.png", 3)]),
        (0, []),
    ],
)
def test_generated_images_are_kept_by_class_as_many_of_each(most, expected, tmp_path):
    save_images(tmp_path, ("a", "none", "c?"), CLASSES, SHADES, most)
    if most == 5:
        expected = [*expected, ("c_/00001.png", 4)]
    assert files(tmp_path) == expected

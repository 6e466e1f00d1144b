"""Networks are found by their files in models/."""

import importlib
import sys

import pytest

from maskgit_prompt import backbones
from maskgit_prompt.backbones import registry

NETWORK = """
from maskgit_prompt.models.kind import Kind

KIND = Kind("tokenizer", "{name}", config=dict, module=lambda config, *, rngs: config, axes=())
"""


@pytest.fixture
def networks(monkeypatch, tmp_path):
    """A function that puts files of such networks in the place of models/: file=name."""

    def make(**files: str) -> None:
        folder = tmp_path / "networks_of_a_test"
        folder.mkdir()
        (folder / "__init__.py").touch()
        for file, name in files.items():
            (folder / f"{file}.py").write_text(NETWORK.format(name=name))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(registry, "models", importlib.import_module(folder.name))

    registry.kinds.cache_clear()
    yield make
    registry.kinds.cache_clear()
    for name in [name for name in sys.modules if name.startswith("networks_of_a_test")]:
        del sys.modules[name]


def test_the_networks_of_the_package():
    found = {name: (kind.part, kind.decoding) for name, kind in backbones.kinds().items()}
    assert found == {
        "vq": ("tokenizer", ""),
        "vqgan": ("tokenizer", ""),
        "masked": ("transformer", "parallel"),
        "causal": ("transformer", "autoregressive"),
        "convolutional": ("features", ""),
        "inception": ("features", ""),
        "vit": ("encoder", ""),
        "swin": ("encoder", ""),
        "resnet": ("encoder", ""),
        "convnext": ("encoder", ""),
        "ofa": ("multimodal", ""),
    }


def test_a_new_file_is_a_new_kind(networks):
    networks(first="old", second="new")
    assert backbones.kinds().keys() == {"old", "new"}
    assert backbones.make_module("new", {"width": 2})(None) == {"width": 2}


def test_two_networks_of_one_name(networks):
    networks(first="vq", second="vq")
    with pytest.raises(ValueError, match="bring a KIND called 'vq'; rename that of second.py$"):
        backbones.kinds()


def test_rules_of_a_network_in_a_larger_tree():
    rules = (("words", ("words", "embed")), (".*/bias", None))
    assert backbones.axes("transformer", rules) == (
        ("transformer/words", ("words", "embed")),
        ("transformer/.*/bias", None),
    )

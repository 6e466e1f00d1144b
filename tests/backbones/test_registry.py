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
    """A function that puts files of so many networks in the place of models/, by file name."""

    def write(**names: str) -> None:
        folder = tmp_path / "networks"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "layers.py").write_text("LAYERS = 1\n")  # a file of no network
        for file, name in names.items():
            (folder / f"{file}.py").write_text(NETWORK.format(name=name))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(registry, "models", importlib.import_module("networks"))

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "networks"]:
        del sys.modules[name]


def test_the_networks_of_the_package():
    found = {name: (kind.part, kind.decoding) for name, kind in backbones.kinds().items()}
    assert found == {
        "vq": ("tokenizer", ""),
        "vqgan": ("tokenizer", ""),
        "masked": ("transformer", "parallel"),
        "causal": ("transformer", "autoregressive"),
        "convolutional": ("features", ""),
    }


def test_a_new_file_is_a_new_kind(networks):
    networks(first="old", second="new")
    found = registry.kinds.__wrapped__()
    assert found.keys() == {"old", "new"}
    assert found["new"].module({"width": 2}, rngs=None) == {"width": 2}


def test_two_networks_of_one_name(networks):
    networks(first="vq", second="vq")
    with pytest.raises(ValueError, match="^two networks are called 'vq'; rename that of second$"):
        registry.kinds.__wrapped__()


def test_rules_of_a_network_in_a_larger_tree():
    rules = (("words", ("words", "embed")), (".*/bias", None))
    assert backbones.axes("transformer", rules) == (
        ("transformer/words", ("words", "embed")),
        ("transformer/.*/bias", None),
    )

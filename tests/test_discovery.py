"""What files bring is found, whatever they are called."""

import importlib
import sys

import pytest

from maskgit_prompt import discovery

FILE = "import types\n\nSHAPE = types.SimpleNamespace(name={name!r}, sides={sides})\n"


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A function that makes a package of such files: file=(name, sides)."""
    folder = tmp_path / "shapes_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "helper.py").write_text("SIDES = 4\n")  # brings nothing
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files: tuple[str, int]):
        for file, (name, sides) in files.items():
            (folder / f"{file}.py").write_text(FILE.format(name=name, sides=sides))
        return importlib.import_module(folder.name)

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_every_file_that_brings_one_is_found(package):
    found = discovery.brought(package(first=("triangle", 3), second=("square", 4)), "SHAPE")
    assert {name: shape.sides for name, shape in found.items()} == {"triangle": 3, "square": 4}


def test_two_of_one_name(package):
    made = package(first=("square", 4), second=("square", 5))
    with pytest.raises(ValueError) as error:
        discovery.brought(made, "SHAPE")
    assert str(error.value) == (
        "two files in shapes_of_a_test bring a SHAPE called 'square'; rename that of second.py"
    )

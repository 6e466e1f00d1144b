"""The plan of the house: imports go down only, a file has one screenful of ideas at most."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "maskgit_prompt"
# From the top floor down. A room imports rooms below it, and itself.
FLOORS = (
    "main",
    "jobs",
    "config",
    "tasks",
    "importers",
    "tuning",
    "backbones",
    "data",
    "report",
    "metrics",
    "decoding",
    "storage",
    "devices",
    "models",
)
GROUND = {
    "counts",
    "discovery",
    "stored",
    "params",
    "streams",
    "renamed",
    "progress",
    "console",
    "interrupt",
    "errors",
}  # every room may
LAZY = {
    *("tensorflow", "tensorflow_datasets", "clu", "array_record"),
    *("tokamax", "pillow_heif", "tiktoken", "pycocoevalcap"),
}
LINES = 450


def files() -> list[pathlib.Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def room(path: pathlib.Path) -> str:
    """models/vit.py is in the room models, main.py in a room of its own."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports: "from a import b" may mean a or a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def rooms_imported(path: pathlib.Path) -> set[str]:
    names = (n for node in ast.walk(ast.parse(path.read_text())) for n in imported(node))
    return {name.split(".")[1] for name in names if name.startswith("maskgit_prompt.")}


def climbing(floor: str, found: set[str]) -> set[str]:
    """Rooms among `found` that a file of `floor` must not import."""
    if floor in GROUND or floor == "models":
        return found - {floor} - (GROUND if floor in GROUND else set())
    below = set(FLOORS[FLOORS.index(floor) :]) | GROUND
    return found - below


def test_an_import_that_climbs_is_seen():
    assert climbing("metrics", {"metrics", "errors", "models"}) == set()
    assert climbing("metrics", {"report", "errors"}) == {"report"}
    assert climbing("models", {"models", "errors", "params"}) == {"errors", "params"}
    assert climbing("params", {"errors", "storage"}) == {"storage"}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    if path.name == "__init__.py" and path.parent == PACKAGE:
        assert not rooms_imported(path)
        return
    assert climbing(room(path), rooms_imported(path)) == set()


def test_sets_of_images_do_not_know_what_chooses_among_them():
    """data/loading.py picks a set by the config and imports data/sets/, not the other way round."""
    below = {
        "sets",
        "examples",
        "images",
        "masks",
        "pixels",
        "splits",
        "depth",
        "formats",
        "found",
        "names",
        "counts",
    }
    for path in (PACKAGE / "data" / "sets").glob("*.py"):
        names = (n for node in ast.walk(ast.parse(path.read_text())) for n in imported(node))
        found = {n.split(".")[2] for n in names if n.startswith("maskgit_prompt.data.")}
        assert found <= below, path


def test_every_file_is_in_a_room_of_the_plan():
    assert {room(path) for path in files()} - {"__init__"} == {*FLOORS, *GROUND}


def test_what_takes_seconds_to_import_is_imported_inside_functions():
    for path in files():
        for node in ast.parse(path.read_text()).body:
            slow = {name.split(".")[0] for name in imported(node)} & LAZY
            assert not slow, f"{path} imports {slow} at the top"


def test_no_file_is_longer_than_can_be_read_at_once():
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("maskgit_prompt", "tests", "benchmarks", "configs")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > LINES
    }
    assert not long

"""The list of wrong changes fits the code, and the tests that it names are there."""

import ast
import collections
import pathlib

from tests.mutations import MUTATIONS

ROOT = pathlib.Path(__file__).parents[1]


def test_every_mutation_fits_the_code_once():
    paths = {mutation.file: ROOT / mutation.file for mutation in MUTATIONS}
    texts = {file: path.read_text() if path.is_file() else "" for file, path in paths.items()}
    counts = {mutation.name: texts[mutation.file].count(mutation.old) for mutation in MUTATIONS}
    assert {name: count for name, count in counts.items() if count != 1} == {}
    assert [mutation.name for mutation in MUTATIONS if mutation.new == mutation.old] == []


def test_no_mutation_is_listed_twice():
    for attributes in (("name",), ("file", "old", "new")):
        found = collections.Counter(tuple(getattr(m, a) for a in attributes) for m in MUTATIONS)
        assert [key for key, count in found.items() if count > 1] == []


def test_the_tests_of_mutations_exist():
    assert all(mutation.tests for mutation in MUTATIONS)
    for test in sorted({test for mutation in MUTATIONS for test in mutation.tests}):
        file, *names = test.split("::")
        tree = ast.parse((ROOT / file).read_text())
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert any(name.startswith("test_") for name in there), file
        assert set(names) <= there, test

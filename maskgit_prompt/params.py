"""Parameter trees: nested dicts of arrays, whose leaves are named "blocks/mlp/up/kernel"."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
from flax import nnx, traverse_util

from maskgit_prompt.errors import UsageError, UserError

Tree = dict[str, Any]


def flatten(tree: Tree) -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}."""
    return traverse_util.flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> Tree:
    """{"a/b": x} -> {"a": {"b": x}}."""
    return traverse_util.unflatten_dict(flat, sep="/")


def count(tree: Tree) -> int:
    """How many numbers the arrays (or abstract arrays) of a tree hold."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def create(make: Callable[[nnx.Rngs], nnx.Module]) -> tuple[nnx.GraphDef, Callable]:
    """(graphdef, function of a key that makes the module's parameters as nested dicts).

    nnx.merge(graphdef, tree) gives the module back. Merging counts leaves and nothing else, so
    `check` foreign trees first.
    """
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    return graphdef, lambda key: nnx.to_pure_dict(nnx.state(make(nnx.Rngs(key))))


def check(found: Tree, expected: Tree, what: str) -> None:
    """Raises UserError, listing all that differs, unless both have the same names and shapes."""
    shapes = lambda tree: {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
    found, expected = shapes(found), shapes(expected)
    wrong = [
        f"{path}: {found.get(path, 'missing')}, expected {expected.get(path, 'nothing')}"
        for path in sorted(found.keys() | expected.keys())
        if found.get(path) != expected.get(path)
    ]
    if wrong:
        raise UserError(f"{what} does not fit the model: {'; '.join(wrong)}")


def split(tree: Tree, patterns: Iterable[str]) -> tuple[Tree, Tree]:
    """Splits into (trainable, frozen) by full-match path patterns, the first match wins.

    A pattern that starts with "!" freezes what it matches. What nothing matches is frozen. A
    pattern that no path has is an error, so that no misspelling freezes a run in silence.
    Patterns ("!a/bias", "a/.*") split {"a": {"bias": 1, "kernel": 2}, "b": 3} into
    {"a": {"kernel": 2}} and {"a": {"bias": 1}, "b": 3}.

    Raises:
      UsageError: a pattern is none or matches no path, or nothing is trainable.
    """
    flat, patterns = flatten(tree), tuple(patterns)
    trainable, frozen = {}, {}
    rules = {pattern: _compile(pattern.removeprefix("!")) for pattern in patterns}
    for path, leaf in flat.items():
        first = next((p for p, rule in rules.items() if rule.fullmatch(path)), "!")
        (frozen if first.startswith("!") else trainable)[path] = leaf
    for pattern, rule in rules.items():
        if not any(rule.fullmatch(path) for path in flat):
            tops = sorted({"/".join(path.split("/")[:2]) for path in flat})
            raise UsageError(
                f"config.trainable: {pattern!r} matches no parameter; they begin with "
                f"{', '.join(tops)}"
            )
    if not trainable:
        raise UsageError(f"config.trainable = {patterns} leaves nothing to train")
    return unflatten(trainable), unflatten(frozen)


def _compile(pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"config.trainable: {pattern!r} is not a regular expression ({error}); "
            "all of a part is 'prompt/.*'"
        ) from error


def merge(first: Tree, second: Tree) -> Tree:
    """Puts two trees without common leaves together; the inverse of `split`."""
    return unflatten({**flatten(first), **flatten(second)})

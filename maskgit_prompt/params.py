"""Parameter trees: nested dicts of arrays, whose leaves are named "blocks/mlp/up/kernel"."""

import collections
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    """The total size of the arrays (or abstract arrays) of a tree."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def abstract(tree: Tree) -> Tree:
    """Shapes and dtypes of a tree of arrays, without reading them."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def outline(make: Callable[[nnx.Rngs], nnx.Module]) -> tuple[nnx.GraphDef, Tree]:
    """A module's (graphdef; names, shapes and dtypes of its parameters), nothing allocated."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    return graphdef, nnx.to_pure_dict(state)


def create(make: Callable[[nnx.Rngs], nnx.Module]) -> tuple[nnx.GraphDef, Callable]:
    """(graphdef, function of a key that makes the module's parameters as nested dicts).

    nnx.merge(graphdef, tree) gives the module back. Merging only counts leaves, so `check` foreign
    trees first.
    """
    return outline(make)[0], lambda key: nnx.to_pure_dict(nnx.state(make(nnx.Rngs(key))))


def check(found: Tree, expected: Tree, what: str) -> None:
    """Raises UserError that lists all differences unless names and shapes are the same."""
    shapes = lambda tree: {path: tuple(leaf.shape) for path, leaf in flatten(tree).items()}
    found, expected = shapes(found), shapes(expected)
    wrong = [
        f"{path}: {found.get(path, 'missing')}, expected {expected.get(path, 'nothing')}"
        for path in sorted(found.keys() | expected.keys())
        if found.get(path) != expected.get(path)
    ]
    if wrong:
        raise UserError(f"{what} does not fit the model: {'; '.join(wrong)}")


# --- Trainable and frozen ------------------------------------------------------------------------

# Parameters of scanned layers have the layers along their first axis. Their names begin with
# "blocks"; layers that are called one by one are "blocks/0", "blocks/1", … and have no such axis.
_STACKED = re.compile(r"(.*/)?blocks/(?!\d+/).+")
_LIKE_SLICED = re.compile(r"\[[-\d: ]+\]$")  # as [3], [::2]: a set of characters, not a slice
_SLICED = re.compile(r"(?P<path>.*)\[(?P<first>-?\d*):(?P<stop>-?\d*)\]")


def is_stacked(path: str) -> bool:
    """Whether a parameter of this path has the layers along its first axis."""
    return bool(_STACKED.fullmatch(path))


def split(tree: Tree, patterns: Iterable[str], key: str = "config.trainable") -> tuple[Tree, Tree]:
    """Splits into (trainable, frozen) by patterns that match whole paths; the first match wins.

    A pattern that starts with "!" freezes what it matches. What nothing matches is frozen. A
    pattern that matches no path is an error, so that a misspelling cannot freeze a run silently.
    Patterns ("!a/bias", "a/.*") split {"a": {"bias": 1, "kernel": 2}, "b": 3} into
    {"a": {"kernel": 2}} and {"a": {"bias": 1}, "b": 3}.

    A pattern that ends in a numpy slice selects these layers of stacked parameters:
    "blocks/.*[-2:]" splits {"blocks": {"bias": [6, D]}} into {"blocks": {"bias[4:6]": [2, D]}} and
    {"blocks": {"bias[0:4]": [4, D]}}. The parts are copies. Unsplit parameters keep their names.

    Args:
      tree: of arrays or abstract arrays.
      key: where the user gave the patterns, for messages.

    Raises:
      UsageError: a pattern is invalid or matches no path, or nothing is trainable; a slice is
        empty, out of range, or for a parameter that is not stacked.
    """
    patterns = tuple(patterns)
    flat, rules = flatten(tree), [_Rule.of(pattern, key) for pattern in patterns]
    for rule in rules:
        if not any(rule.matches(path) for path in flat):
            tops = sorted({"/".join(path.split("/")[:2]) for path in flat})
            hint = "; layers are taken as in 'transformer/blocks/.*[-2:]'"
            raise UsageError(
                f"{key}: {rule.pattern!r} matches no parameter; they begin with {', '.join(tops)}"
                + hint * bool(_LIKE_SLICED.search(rule.pattern))
            )
        for path in filter(rule.matches, flat):  # whichever pattern comes first
            rule.rows(path, (*np.shape(flat[path]), 0)[0])
    trainable, frozen = {}, {}
    for path, leaf in flat.items():
        for name, part, trained in _parts(path, leaf, [r for r in rules if r.matches(path)]):
            (trainable if trained else frozen)[name] = part
    if not trainable:
        raise UsageError(f"{key} = {patterns} leaves nothing to train")
    return unflatten(trainable), unflatten(frozen)


def split_among(tree: Tree, patterns: Mapping[str, Iterable[str]]) -> tuple[dict[str, Tree], Tree]:
    """({name: what the patterns of that name select}, what no pattern selects).

    Raises:
      UsageError: as in `split`, or two names select parts of the same parameter.
    """
    parts = {name: split(tree, chosen, f"patterns of {name}") for name, chosen in patterns.items()}
    owners: dict[str, str] = {}
    for name, (own, _) in parts.items():
        for path in map(whole_path, flatten(own)):
            if owners.setdefault(path, name) != name:
                raise UsageError(
                    f"{path} is trained by {owners[path]} and by {name}; one of them must leave it "
                    "out"
                )
    rest = {}
    for name, (_, left) in parts.items():
        rest |= {p: x for p, x in flatten(left).items() if owners.get(whole_path(p), name) == name}
    return {name: own for name, (own, _) in parts.items()}, unflatten(rest)


def merge(*trees: Tree) -> Tree:
    """Joins trees without common leaves; the inverse of `split`.

    Slices "bias[0:4]" and "bias[4:6]" become one "bias", joined along their first axis. In a
    compiled function the gradient of a slice is a slice of the gradient.

    Raises:
      ValueError: slices that leave a gap: a bug of ours.
    """
    whole, slices = {}, collections.defaultdict(list)
    for tree in trees:
        for path, leaf in flatten(tree).items():
            if found := _SLICED.fullmatch(path):
                slices[found["path"]].append((int(found["first"]), int(found["stop"]), leaf))
            else:
                whole[path] = leaf
    for path, parts in slices.items():
        parts.sort(key=lambda part: part[0])
        stops = [0, *(stop for _, stop, _ in parts)]
        if [first for first, _, _ in parts] != stops[:-1]:
            raise ValueError(f"slices of {path} leave a gap: {[part[:2] for part in parts]}")
        whole[path] = jnp.concatenate([leaf for _, _, leaf in parts])
    return unflatten(whole)


def overlaid(tree: Tree, parts: Tree) -> Tree:
    """The tree with the parameters of `parts` in place of its own; these may be slices of layers.

    Raises:
      KeyError: a parameter that the tree does not have.
    """
    whole = flatten(tree)
    for path, leaf in flatten(parts).items():
        if found := _SLICED.fullmatch(path):
            first, stop = int(found["first"]), int(found["stop"])
            whole[found["path"]] = jnp.asarray(whole[found["path"]]).at[first:stop].set(leaf)
        elif path in whole:
            whole[path] = leaf
        else:
            raise KeyError(path)
    return unflatten(whole)


def whole_path(path: str) -> str:
    """The parameter that a leaf of `split` belongs to: "blocks/bias[4:6]" to "blocks/bias"."""
    found = _SLICED.fullmatch(path)
    return found["path"] if found else path


@dataclasses.dataclass(frozen=True)
class _Rule:
    """One pattern: what it matches, which layers of it (None: all), and whether it trains them."""

    pattern: str
    matches: Callable[[str], Any]
    layers: slice | None
    trains: bool
    key: str

    @classmethod
    def of(cls, pattern: str, key: str) -> "_Rule":
        if not isinstance(pattern, str):
            raise UsageError(f"{key} has {pattern!r}, expected path patterns such as 'prompt/.*'")
        expression, layers = pattern.removeprefix("!"), None
        if found := _SLICED.fullmatch(expression):
            bounds = [int(found[name]) if found[name] else None for name in ("first", "stop")]
            expression, layers = found["path"], slice(*bounds)
        matches = compile_pattern(expression, key).fullmatch
        return cls(pattern, matches, layers, not pattern.startswith("!"), key)

    def rows(self, path: str, count: int) -> range:
        """The layers, out of `count`, that the pattern selects."""
        if self.layers is None:
            return range(count)
        if not _STACKED.fullmatch(path):
            raise UsageError(
                f"{self.key}: {self.pattern!r} takes layers of {path}, which has no axis of layers;"
                " slices are for stacked layers, as in 'transformer/blocks/.*[-2:]'"
            )
        bounds = [bound for bound in (self.layers.start, self.layers.stop) if bound is not None]
        if any(not -count <= bound <= count for bound in bounds):
            raise UsageError(
                f"{self.key}: {self.pattern!r} is out of range: {path} has {count} layers"
            )
        rows = range(count)[self.layers]
        if not rows:
            raise UsageError(
                f"{self.key}: {self.pattern!r} selects none of the {count} layers of {path}"
            )
        return rows


def _parts(path: str, leaf: Any, rules: list[_Rule]) -> Iterator[tuple[str, Any, bool]]:
    """(name, leaf, whether it is trained) for a parameter, or for its runs of layers.

    rules: those that match the path.
    """
    if not rules or rules[0].layers is None:
        yield path, leaf, bool(rules) and rules[0].trains
        return
    count = (*np.shape(leaf), 0)[0]
    trained: dict[int, bool] = {}
    for rule in rules:
        trained = dict.fromkeys(rule.rows(path, count), rule.trains) | trained  # first match wins
    for trains, run in itertools.groupby(range(count), lambda row: trained.get(row, False)):
        first, *others = run
        stop = (others or [first])[-1] + 1
        if stop - first == count:
            yield path, leaf, trains
        else:
            yield f"{path}[{first}:{stop}]", _layers(leaf, first, stop), trains


def _layers(leaf: Any, first: int, stop: int) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((stop - first, *leaf.shape[1:]), leaf.dtype)
    return leaf[first:stop]


def compile_pattern(pattern: str, key: str) -> re.Pattern:
    """A path pattern that a user gave as `key`; raises UsageError if it is invalid."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"{key}: {pattern!r} is not a regular expression ({error}); "
            "for all of the prompt write 'prompt/.*'"
        ) from error

"""Names in a foreign checkpoint -> our parameters, checked before an array is read."""

import collections
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from maskgit_prompt.backbones import Part, abstract
from maskgit_prompt.errors import UserError
from maskgit_prompt.params import Tree, flatten, unflatten

Array = Any  # a numpy array or a StoredArray: it has a shape, and numpy can make an array of it


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Where a parameter goes.

    Attributes:
      pattern: matches a whole source name; a group named `layer` is the place in a stack.
      ours: our path, with \1 or \g<name> for the pattern's groups.
      transform: uses only what arrays and tracers share (transpose, reshape, indices); None: as is.
    """

    pattern: str
    ours: str
    transform: Callable[[Array], Array] | None = None


@dataclasses.dataclass(frozen=True)
class Converted:
    """A parameter of ours, not yet read.

    Attributes:
      sources: one array, or one per layer.
      stacked: whether the layers are stacked along a leading dimension.
      transform: see Rule.
      shape: of what `read` returns.
      names: of the sources, as in the file.
      what: the file, for messages.
    """

    sources: tuple[Array, ...]
    stacked: bool
    transform: Callable[[Array], Array] | None
    shape: tuple[int, ...]
    names: tuple[str, ...]
    what: str

    def read(self, dtype: str = "float32") -> np.ndarray:
        """The parameter; besides it at most one layer is in memory.

        Raises:
          UserError: it is not finite, as stored or as `dtype`.
        """
        whole = np.empty(self.shape, dtype)
        places = whole if self.stacked else (whole,)
        with np.errstate(over="ignore"):
            for place, source, name in zip(places, self.sources, self.names, strict=True):
                place[...] = self._one(source)
                if not np.isfinite(place).all():
                    raise UserError(
                        f"{self.what}: {name} holds NaN or infinite numbers, or larger ones than "
                        f"{dtype} has; nothing was written"
                    )
        return whole

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read(dtype or "float32")

    def _one(self, source: Array) -> np.ndarray:
        array = np.asarray(source)
        return array if self.transform is None else self.transform(array)


def match(
    source: Mapping[str, Array],
    rules: Iterable[Rule],
    *,
    ignored: Iterable[str] = (),
    expected: Tree | None = None,
    what: str = "the checkpoint",
    prefix: str = "",
) -> dict[str, Converted]:
    """{source name: array} -> {our path: parameter}, without reading an array.

    In each stack, the layers that most parameters have are taken as the right ones.

    Args:
      ignored: patterns of names that are not parameters.
      expected: exactly the parameters that must come out (arrays or abstract arrays).
      what: the file, for messages.
      prefix: what precedes every name of `source` in the file, for messages.

    Raises:
      UserError: lists everything unexpected, missing or misshapen in one line, by its name in the
        file: first names that no rule knows, then what is too much, then what is missing.
    """
    rules = list(rules)
    places, used, unknown, wrong = _places(source, rules, ignored, prefix)
    shapes = None
    if expected is not None:
        shapes = {path: tuple(leaf.shape) for path, leaf in flatten(expected).items()}
    layers, missing = {}, []  # stack -> the layers it has
    for stack in dict.fromkeys(
        _stack(ours) for ours, arrays in places.items() if None not in arrays
    ):
        stacked = {
            ours: arrays
            for ours, arrays in places.items()
            if None not in arrays and _stack(ours) == stack
        }
        layers[stack] = found = usual_layers(set(arrays) for arrays in stacked.values())
        depths = {shapes[ours][0] for ours in stacked if ours in shapes} if shapes else set()
        depth = max(depths, default=len(found))
        if found != list(range(depth)):
            last = next(x for x in stacked.values() if found[-1] in x)[found[-1]][0]
            missing.append(
                f"layers {_ranges(found)} are there ({prefix}{last}, …), expected 0 to {depth - 1}"
            )
    converted = {}
    for ours, arrays in places.items():
        rule, stacked = used[ours], None not in arrays
        if shapes is not None and ours not in shapes:
            wrong += [f"{prefix}{n} {tuple(x.shape)} is unexpected" for n, x in arrays.values()]
            continue
        if stacked:
            usual = layers[_stack(ours)]
            more = [arrays[layer] for layer in sorted(arrays.keys() - usual)]
            wrong += [f"{prefix}{n} {tuple(x.shape)} is unexpected" for n, x in more]
            fewer = [layer for layer in usual if layer not in arrays]
            missing += [f"{prefix}{_theirs(ours, rule, source, n)} is missing" for n in fewer]
            if more or fewer:
                continue
        named = [arrays[layer] for layer in (usual if stacked else [None])]
        made = [_shape(array, rule) for _, array in named]
        whole = shapes[ours] if shapes else (len(named), *(made[0] or ())) if stacked else made[0]
        one = whole[1:] if stacked and whole else whole
        odd = [
            (name, array, shape)
            for (name, array), shape in zip(named, made, strict=True)
            if shape is None or shape != one
        ]
        wrong += [f"{prefix}{name} {_misshapen(x, shape, one)}" for name, x, shape in odd]
        if not odd:
            converted[ours] = Converted(
                tuple(array for _, array in named),
                stacked,
                rule.transform,
                (len(named), *one) if stacked else one,
                tuple(f"{prefix}{name}" for name, _ in named),
                what,
            )
    for path in sorted((shapes or {}).keys() - places):
        names = (_theirs(path, rule, source) for rule in rules)
        name = next((f"{prefix}{name}" for name in names if name), path)
        missing.append(f"{name} is missing")
    if unknown or wrong or missing:
        # Rules of the same pattern say the same.
        everything = dict.fromkeys([*sorted(unknown), *sorted(wrong), *missing])
        raise UserError(f"{what} does not fit the model: {'; '.join(everything)}")
    return converted


def _places(
    source: Mapping[str, Array], rules: list[Rule], ignored: Iterable[str], prefix: str
) -> tuple[dict, dict[str, Rule], list[str], list[str]]:
    """(our path -> layer or None -> (name, array), our path -> rule, unknown names, errors)."""
    places, used, unknown, wrong = collections.defaultdict(dict), {}, [], []
    grouped = collections.defaultdict(list)
    for rule in rules:
        grouped[rule.pattern].append(rule)
    patterns = [(re.compile(pattern), group) for pattern, group in grouped.items()]
    ignored = [re.compile(pattern) for pattern in ignored]
    for name, array in source.items():
        if any(pattern.fullmatch(name) for pattern in ignored):
            continue
        found = next(((m, group) for p, group in patterns if (m := p.fullmatch(name))), None)
        if found is None:
            unknown.append(f"{prefix}{name} {tuple(array.shape)} is unexpected")
            continue
        if not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
            wrong.append(f"{prefix}{name} is of {array.dtype}, expected floating point numbers")
        matched, group = found
        layer = matched.groupdict().get("layer")
        layer = None if layer is None else int(layer)
        for rule in group:
            ours = matched.expand(rule.ours)
            if layer in places[ours]:
                wrong.append(f"{prefix}{name} is there twice")
            places[ours][layer], used[ours] = (name, array), rule
    return dict(places), used, unknown, wrong


def _stack(ours: str) -> str:
    """The stack that a path belongs to: "stages/0/" for "stages/0/blocks/mlp/up/kernel"."""
    return ours.partition("blocks/")[0] if "blocks/" in ours else ""


def usual_layers(sets: Iterable[set[int]]) -> list[int]:
    """The most frequent set of numbers, sorted: {0, 1}, {0, 1}, {0, 1, 2} -> [0, 1]."""
    counted = collections.Counter(map(frozenset, sets))
    return sorted(counted.most_common(1)[0][0]) if counted else []


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 3] -> "0 to 1, 3"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _misshapen(array: Array, shape: tuple[int, ...] | None, expected: tuple[int, ...]) -> str:
    """What is wrong with an array that became `shape` (None: could not be transformed)."""
    theirs = tuple(array.shape)
    if shape is None:
        return f"{theirs} is misshapen"
    if shape == theirs:
        return f"has shape {shape}, expected {expected}"
    return f"{theirs} becomes {shape}, expected {expected}"


# (?P<name>…), (?:…) with or without ?, (…), \x
_PIECE = re.compile(
    r"\((?:\?P<(?P<called>\w+)>)?(?P<free>\?:)?(?P<inside>[^()]*)\)(?P<maybe>\?)?|\\(?P<plain>\W)"
)


def _theirs(path: str, rule: Rule, names: Iterable[str], layer: int | None = None) -> str | None:
    r"""The source's name of our path by a rule, whose pattern has no group inside another.

    Rule(r"(?:net\.)?h(?P<layer>\d+)\.(\w+)", r"blocks/\2") turns "blocks/bias" and layer 3 into
    "net.h3.bias", and without a layer into "net.hN.bias"; with "net." if names begin with it.
    """
    groups = [m for m in _PIECE.finditer(rule.pattern) if m["plain"] is None and not m["free"]]
    pieces = re.split(r"\\(\d)", rule.ours)
    ours = "".join(
        f"(?P<g{piece}>{groups[int(piece) - 1]['inside']})" if i % 2 else re.escape(piece)
        for i, piece in enumerate(pieces)
    )
    if (found := re.fullmatch(ours, path)) is None:
        return None
    number = iter(range(1, len(groups) + 1))

    def put(piece: re.Match) -> str:
        if piece["plain"] is not None:
            return piece["plain"]
        inside = re.sub(r"\\(\W)", r"\1", piece["inside"])
        if piece["free"]:
            return inside if any(name.startswith(inside) for name in names) else ""
        n = next(number)
        if piece["called"] == "layer":
            return "N" if layer is None else str(layer)
        return found.groupdict().get(f"g{n}", "")

    return _PIECE.sub(put, rule.pattern)


def _shape(array: Array, rule: Rule) -> tuple[int, ...] | None:
    """The shape after the rule's transform; None if that is impossible."""
    shape = tuple(array.shape)
    if rule.transform is None:
        return shape
    try:
        return jax.eval_shape(rule.transform, jax.ShapeDtypeStruct(shape, np.float32)).shape
    except (TypeError, ValueError):
        return None


@dataclasses.dataclass(frozen=True)
class Options:
    """What some checkpoints do not tell; 0 where it is to be found.

    Attributes:
      image_size: S.
      codebook: how many of a transformer's words are image codes.
      tokenizer: how many codes its tokenizer has.
      heads: of a transformer whose attention is stored as plain matrices.
      normalization: of the pixels that an encoder was trained on: "half", "imagenet" or unknown.
      classes: how many it was trained on.
      unmasked: how many tokens at the start of a causal transformer's sequence all see each other.
      weights: "model", those of the last step, or "ema", averaged ones; empty: "model".
    """

    image_size: int = 0
    codebook: int = 0
    tokenizer: int = 0
    heads: int = 0
    classes: int = 0
    unmasked: int = 0
    normalization: str = ""
    weights: str = ""


def parameters(
    make: Callable[[nnx.Rngs], nnx.Module],
    source: Mapping[str, Array],
    rules: Iterable[Rule],
    *,
    ignored: Iterable[str] = (),
    what: str = "the checkpoint",
    prefix: str = "",
) -> Tree:
    """The parameters of the network that `make` makes, read from `source` when needed.

    Args: see `match`.
    """
    expected = abstract(make)
    return unflatten(
        match(source, rules, ignored=ignored, expected=expected, what=what, prefix=prefix)
    )


def all_parts(
    makers: Mapping[str, Callable[[], Part]], odd: Iterable[str], what: str
) -> dict[str, Part]:
    """{name: the part}, made of a file.

    Args:
      odd: names in the file that belong to no part; what: the file, for messages.

    Raises:
      UserError: lists everything wrong with the parts in one line.
    """
    found, wrong = {}, [f"{what} does not fit the model: {_unexpected(odd)}"] if odd else []
    for name, make in makers.items():
        try:
            found[name] = make()
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError("; ".join(wrong))
    return found


def _unexpected(names: Iterable[str]) -> str:
    names = sorted(names)
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} unexpected"


def without_sign(
    names: Iterable[str], what: str, holds: str, sign: str, separator: str
) -> UserError:
    """The error of a file of another network.

    Args:
      names: in the file; what: the file, for messages.
      holds: what it should hold; sign: a name that only this has.
      separator: between the parts of a name.
    """
    tops = sorted({name.split(separator)[0] for name in names})
    return UserError(
        f"{what} holds no {holds}, expected {sign} among its names; they begin with "
        f"{', '.join(tops[:8]) or 'nothing'}"
    )


def with_unknown(
    error: UserError, names: Iterable[str], known: Iterable[str], what: str, prefix: str = ""
) -> UserError:
    """The error of sizes that could not be found, preceded by the names that no rule knows.

    A renamed parameter is the likeliest cause. So decoder/Conv_three/kernel comes first, then the
    message that the encoder's blocks do not fit the decoder's levels.

    Args:
      names: all names of a part; known: patterns of names with a rule and of names to ignore.
      what: the file, for messages; prefix: in front of every name, see `match`.
    """
    patterns = [re.compile(pattern) for pattern in known]
    odd = [prefix + n for n in names if not any(pattern.fullmatch(n) for pattern in patterns)]
    if not odd:
        return error
    return UserError(f"{what} does not fit the model: {_unexpected(odd)}; {error}")


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Shapes of a file's arrays by name, from which a network's sizes follow.

    Attributes:
      what: the file, for messages; network: what it should hold, "VQGAN".
      inside: precedes every name that is asked for.
      prefix: what precedes every name in the file, see `match`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    what: str
    network: str
    inside: str = ""
    prefix: str = ""

    def size(self, name: str, rank: int = 4) -> tuple[int, ...]:
        """The shape of an array of `rank` dimensions.

        Raises:
          UserError: no array has this name, or it has another rank.
        """
        return self.first([name], rank)

    def first(self, names: Iterable[str], rank: int = 4) -> tuple[int, ...]:
        """As `size`, for the first of `names` that is there."""
        names = [self.inside + name for name in names]
        name = next((name for name in names if name in self.shapes), None)
        if name is None:
            raise UserError(
                f"{self.what} is not a whole {self.network}: {self.prefix}{names[0]} is missing"
            )
        shape = tuple(self.shapes[name])
        if len(shape) != rank:
            raise UserError(
                f"{self.what} is not a {self.network}: {self.prefix}{name} has shape {shape}, "
                f"expected {rank} dimensions"
            )
        return shape

    def numbers(self, pattern: str) -> list[int]:
        """The different numbers that a pattern's group matches in the names, sorted."""
        matches = (re.match(re.escape(self.inside) + pattern, name) for name in self.shapes)
        return sorted({int(match[1]) for match in matches if match})

    def run(self, pattern: str) -> int:
        """How many of a pattern's numbers are consecutive from 0: 0, 1, 3 -> 2."""
        found = self.numbers(pattern)
        return next(i for i in itertools.count() if i not in found)

    def layers(self, block: str) -> list[int]:
        """The layers that most parameters of a stack have, as in `match`.

        Args:
          block: pattern of the start of a layer's names, with the number as its only group.
        """
        sets = collections.defaultdict(set)
        for name in self.shapes:
            if found := re.match(re.escape(self.inside) + block, name):
                sets[name[found.end() :]].add(int(found[1]))
        return usual_layers(sets.values())

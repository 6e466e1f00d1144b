"""Names in a foreign checkpoint -> our parameters, checked before anything is read."""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from maskgit_prompt.errors import UserError
from maskgit_prompt.params import Tree, flatten, unflatten
from maskgit_prompt.source import Part, abstract

Array = Any  # a numpy array or a StoredArray: it has a shape, and numpy can make an array of it


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Where a parameter goes.

    Attributes:
      pattern: full match of a source's name; a group named `layer` is the place in a stack.
      ours: our path, with \1 or \g<name> for the pattern's groups.
      transform: made of methods that arrays and tracers share (transpose, reshape); None: as it is.
    """

    pattern: str
    ours: str
    transform: Callable[[Array], Array] | None = None


@dataclasses.dataclass(frozen=True)
class Converted:
    """A parameter of ours, not yet read.

    Attributes:
      sources: one array, or one a layer.
      stacked: whether the layers are stacked to a leading dimension.
      transform: see Rule.
      shape: of what `read` returns.
    """

    sources: tuple[Array, ...]
    stacked: bool
    transform: Callable[[Array], Array] | None
    shape: tuple[int, ...]

    def read(self, dtype: str = "float32") -> np.ndarray:
        """The parameter; beside it at most one layer is in memory."""
        with np.errstate(over="ignore"):  # who writes it refuses what is not finite
            if not self.stacked:
                return np.ascontiguousarray(self._one(self.sources[0]), dtype)
            whole = np.empty(self.shape, dtype)
            for place, source in zip(whole, self.sources, strict=True):
                place[...] = self._one(source)
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
) -> dict[str, Converted]:
    """{source name: array} -> {our path: parameter}, without reading an array.

    Args:
      ignored: patterns of names that are no parameters.
      expected: the parameters that must come out, no more and no fewer (arrays or abstract arrays).
      what: the file, for messages.

    Raises:
      UserError: everything that is unexpected, missing or misshapen, in one line.
    """
    rules = [(re.compile(rule.pattern), rule) for rule in rules]
    ignored = [re.compile(pattern) for pattern in ignored]
    places, used, wrong = collections.defaultdict(dict), {}, []
    for name, array in source.items():
        if any(pattern.fullmatch(name) for pattern in ignored):
            continue
        found = next(((m, r) for p, r in rules if (m := p.fullmatch(name))), None)
        if found is None:
            wrong.append(f"{name} {tuple(array.shape)} is unexpected")
            continue
        if not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
            wrong.append(f"{name} is of {array.dtype}, expected floating point numbers")
            continue
        matched, rule = found
        ours, layer = matched.expand(rule.ours), matched.groupdict().get("layer")
        layer = None if layer is None else int(layer)
        if layer in places[ours]:
            wrong.append(f"{name} is there twice")
        places[ours][layer], used[ours] = (name, array), rule

    converted = {}
    for ours, arrays in places.items():
        stacked = None not in arrays
        layers = sorted(arrays) if stacked else [None]
        if stacked and layers != list(range(len(layers))):
            wrong.append(f"{ours} has layers {layers}, expected 0 to {len(layers) - 1}")
            continue
        named = [arrays[layer] for layer in layers]
        shapes = {name: _shape(array, used[ours]) for name, array in named}
        odd = {name: shape for name, shape in shapes.items() if shape != shapes[named[0][0]]}
        if odd or None in shapes.values():
            wrong += [f"{name} {tuple(source[name].shape)} is misshapen" for name in odd or shapes]
            continue
        shape = shapes[named[0][0]]
        converted[ours] = Converted(
            tuple(array for _, array in named),
            stacked,
            used[ours].transform,
            (len(named), *shape) if stacked else shape,
        )

    if expected is not None:
        shapes = {path: tuple(leaf.shape) for path, leaf in flatten(expected).items()}
        wrong += [f"{path} {shapes[path]} is missing" for path in sorted(shapes.keys() - places)]
        for path, parameter in converted.items():
            if path not in shapes:
                wrong.append(f"{path} {parameter.shape} is unexpected")
            elif parameter.shape != shapes[path]:
                wrong.append(f"{path} has shape {parameter.shape}, expected {shapes[path]}")
    if wrong:
        raise UserError(f"{what} does not fit the model: {'; '.join(sorted(wrong))}")
    return converted


def load(
    source: Mapping[str, Array], rules: Iterable[Rule], **kwargs: Any
) -> dict[str, np.ndarray]:
    """`match`, and everything read: {our path: array}."""
    return {path: found.read() for path, found in match(source, rules, **kwargs).items()}


def _shape(array: Array, rule: Rule) -> tuple[int, ...] | None:
    """The shape after the rule's transform; None where that cannot be."""
    shape = tuple(array.shape)
    if rule.transform is None:
        return shape
    try:
        return jax.eval_shape(rule.transform, jax.ShapeDtypeStruct(shape, np.float32)).shape
    except (TypeError, ValueError):
        return None


@dataclasses.dataclass(frozen=True)
class Options:
    """What some checkpoints do not tell; 0 where it is to be found out.

    Attributes:
      image_size: S.
      codebook: image codes among a transformer's words.
      heads: of a transformer whose attention is stored as plain matrices.
      classes: how many it was trained on.
      unmasked: of a causal transformer's sequence, how many tokens in front all see each other.
    """

    image_size: int = 0
    codebook: int = 0
    heads: int = 0
    classes: int = 0
    unmasked: int = 0


def make_part(
    kind: str, cfg: Any, module: Callable, source: Mapping[str, Array], rules, **kwargs: Any
) -> Part:
    """A network of ours whose parameters are read from `source` when they are needed.

    kwargs: `ignored` and `what` of `match`.
    """
    expected = abstract(lambda rngs: module(cfg, rngs=rngs))
    return Part(kind, cfg, unflatten(match(source, rules, expected=expected, **kwargs)))

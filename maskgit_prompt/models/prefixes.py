"""Prefixes of an encoder-decoder (arXiv 2208.02532): one prompt generator for each place.

Keys and values stand in front of those of the encoder's and the decoder's self-attention. Those in
front of the decoder's cross-attention are an addition to the paper. Each place has its own length,
layers and parameters; a place without a generator has no prefix.

Shapes: B batch, P prompt tokens, D width.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, struct

from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.prompt import NONE, PromptConfig, PromptGenerator, folded
from maskgit_prompt.models.prompts import Prompt

Array = jax.Array

PLACES = ("encoder", "decoder", "cross")


@struct.dataclass
class Prefixes:
    """A prefix for each place, or None.

    Attributes:
      encoder: Prompt of prefix [B, layers of the encoder, 2, P, D].
      decoder, cross: the same for the decoder's self-attention and for its cross-attention.
    """

    encoder: Prompt | None = None
    decoder: Prompt | None = None
    cross: Prompt | None = None

    def __len__(self) -> int:
        leaves = jax.tree.leaves(self)
        return len(leaves[0]) if leaves else 0

    def __getitem__(self, rows: np.ndarray | slice) -> "Prefixes":
        """The prefixes of the examples with these numbers [b]."""
        return jax.tree.map(lambda x: x[rows], self)


@dataclasses.dataclass(frozen=True)
class PrefixesConfig:
    """A prompt generator's sizes for each place, or None: each with prefix=True."""

    encoder: PromptConfig | None = None
    decoder: PromptConfig | None = None
    cross: PromptConfig | None = None

    def __post_init__(self):
        for place, cfg in self.places.items():
            if cfg.place != "prefix":
                raise ValueError(f"{place} = a prompt of {cfg.place}, expected prefix=True")
        if not self.places:
            raise ValueError(f"no prefix at all, expected one for {' or '.join(PLACES)}")

    @property
    def places(self) -> dict[str, PromptConfig]:
        """place -> sizes, of those that have a prefix."""
        found = {place: getattr(self, place) for place in PLACES}
        return {place: cfg for place, cfg in found.items() if cfg is not None}


class PrefixGenerator(nnx.Module):
    """A prompt generator for each place that has a prefix."""

    def __init__(self, cfg: PrefixesConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        made = {place: PromptGenerator(one, rngs=rngs) for place, one in cfg.places.items()}
        self.places = nnx.Dict(made)

    def __call__(
        self, class_ids: Array, instance_ids: Array | None = None, key: Array | None = None
    ) -> Prefixes:
        """The prefixes of ids [B], NONE for no condition; key: as in PromptGenerator."""
        found = {}
        for i, place in enumerate(self.cfg.places):
            one = None if key is None else jax.random.fold_in(key, i)
            found[place] = self.places[place](class_ids, instance_ids, one)
        return Prefixes(**found)

    def of_batch(self, size: int, key: Array | None = None) -> Prefixes:
        """The same prefixes for every example, without conditions."""
        return self(jnp.full(size, NONE), None, key)


def without(layers: int, which: str) -> tuple[int, ...]:
    """The layers to leave out so that only some have a prefix.

    "all" leaves out none; with 6 layers "bottom-2" leaves out 2 3 4 5 and "top-2" 0 1 2 3.

    Raises:
      ValueError: neither of these, or more layers than there are.
    """
    if which == "all":
        return ()
    end, _, count = which.partition("-")
    if end not in ("bottom", "top") or not count.isdigit() or not 1 <= int(count) <= layers:
        raise ValueError(
            f"prefix layers {which!r}, expected all, bottom-K or top-K with K from 1 to {layers}"
        )
    if end == "bottom":
        return tuple(range(int(count), layers))
    return tuple(range(layers - int(count)))


def folded_places(cfg: PrefixesConfig, tree: dict) -> tuple[PrefixesConfig, dict]:
    """As `prompt.folded`, for every place."""
    found = {place: folded(one, tree["places"][place]) for place, one in cfg.places.items()}
    cfg = PrefixesConfig(**{place: one for place, (one, _) in found.items()})
    return cfg, {"places": {place: own for place, (_, own) in found.items()}}


def started(cfg: PrefixesConfig, tree: dict, prefixes: Prefixes) -> dict:
    """A generator's parameters that begin with given keys and values, such as a real text's.

    The first P tokens of the first example are taken, at every place that has any; conditions
    begin at zero there.

    Args:
      tree: the parameters as they were made.

    Raises:
      ValueError: a prefix that is not a plain table, too few tokens, or other sizes.
    """
    places = dict(tree["places"])
    for place, one in cfg.places.items():
        prompt = getattr(prefixes, place)
        if prompt is None:
            continue
        if one.kind != "table" or one.dense or one.reparameterize:
            raise ValueError(
                f"{place}: only a plain table can begin with a text: kind='table', not dense, "
                "reparameterize=0"
            )
        layers, _, tokens, width = prompt.prefix.shape[1:]
        if tokens < one.tokens:
            raise ValueError(
                f"{place}: {tokens} tokens of text for a prefix of {one.tokens}; give a longer one"
            )
        if (layers, width) != (one.depth, one.width):
            raise ValueError(
                f"{place}: keys and values of {layers} layers of width {width}, expected "
                f"{one.depth} of {one.width}"
            )
        taken = prompt.prefix[0, list(one.present), :, : one.tokens]  # [present, 2, P, D]
        own = dict(places[place])
        own["positions"] = jnp.asarray(taken, jnp.float32).reshape(-1, width)
        own |= {x: jnp.zeros_like(own[x]) for x in ("classes", "instances") if x in own}
        places[place] = own
    return {**tree, "places": places}


def together(prefixes: Sequence[Prefixes]) -> Prefixes:
    """One batch of several batches of prefixes, in their order.

    Shorter ones are filled up with tokens of weight 0, which nothing sees. An example without a
    prefix at a place where others have one gets only such tokens.
    """
    counts = [len(one) for one in prefixes]
    return Prefixes(
        **{place: _joined([getattr(one, place) for one in prefixes], counts) for place in PLACES}
    )


def _joined(prompts: list[Prompt | None], counts: list[int]) -> Prompt | None:
    there = [prompt for prompt in prompts if prompt is not None]
    if not there:
        return None
    _, layers, _, _, width = there[0].prefix.shape
    longest = max(prompt.prefix.shape[3] for prompt in there)
    plain = len(there) == len(prompts) and all(
        prompt.weights is None and prompt.prefix.shape[3] == longest for prompt in there
    )
    arrays, weights = [], []
    for prompt, count in zip(prompts, counts, strict=True):
        x = jnp.zeros((count, layers, 2, 0, width)) if prompt is None else prompt.prefix
        tokens = x.shape[3]
        own = None if prompt is None else prompt.weights
        own = jnp.ones((count, layers, tokens)) if own is None else own
        behind = (0, longest - tokens)
        arrays.append(jnp.pad(x, [(0, 0)] * 3 + [behind, (0, 0)]))
        weights.append(jnp.pad(own, [(0, 0), (0, 0), behind]))
    return Prompt(
        prefix=jnp.concatenate(arrays), weights=None if plain else jnp.concatenate(weights)
    )


def average(prefixes: Sequence[Prefixes], shares: Sequence[float] | None = None) -> Prefixes:
    """The mean of prefixes of the same sizes, key by key and value by value.

    shares: of each, which sum to 1; None: equal ones. Keys 2 and 6 with shares 0.75 and 0.25: 3.

    Raises:
      ValueError: prefixes of several sizes, or shares that do not sum to 1.
    """
    shares = [1 / len(prefixes)] * len(prefixes) if shares is None else list(shares)
    if len(shares) != len(prefixes) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares {shares} of {len(prefixes)} prefixes, expected a sum of 1")
    shapes = [jax.tree.map(np.shape, one) for one in prefixes]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("prefixes of several lengths, layers or places have no average")
    return jax.tree.map(
        lambda *xs: sum(share * x for share, x in zip(shares, xs, strict=True)), *prefixes
    )


# On every device, so that gradient traffic is only the prefixes' size.
AXES: Axes = ((r".*", None),)

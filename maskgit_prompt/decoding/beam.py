"""Beam search over the sequences of an autoregressive decoder; one beam is greedy search.

The caller passes a decoder, so nothing here knows a network. It has

    start(beams, length)              -> state of R = B K sequences that have read nothing, with
                                         room for `length` ids each
    step(state, ids [R], position)    -> (logits of the next id [R, V], state)
    reorder(state, rows [R])          -> state whose sequence r is what sequence rows[r] was

    search = make_search(jax.tree_util.Partial(EncoderDecoder, network, memory, prefixes))
    found = search(SearchConfig(beams=5, max_length=16), batch=64)

Row b K + k is hypothesis k of example b. What the encoder gave is the decoder's to keep:
hypotheses change places only within an example, so it is never reordered. All sequences have equal
lengths, which makes `position` one number and a forced prefix of any length a matter of which id is
taken. Every step costs the same, and the number of steps changes nothing that is compiled.

The rules are those of the published models' generator (fairseq's):

1. Log-probabilities of the allowed ids. Then a rule may take ids away (padding, </s> before
   min_length, everything else at max_length, a repeated n-gram): -inf, and nothing is renormalized.
2. The best 2 K continuations over all beams; in the first step only one beam is there.
3. Those with </s> among the best K are finished. Their score is the sum of their tokens'
   log-probabilities, </s> included, over (number of tokens) ** length_penalty.
4. The first K without </s> go on. An example is done when it has K finished hypotheses.

Shapes: B batch, K beams, V vocabulary, T tokens at most, </s> included.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from maskgit_prompt.decoding.arguments import bound
from maskgit_prompt.decoding.constraints import Constraint, Free, Trie
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.specials import END, PAD, START

Array = jax.Array


class Decoder(Protocol):
    """See the module's docstring."""

    def start(self, beams: int, length: int) -> Any: ...
    def step(self, state: Any, ids: Array, position: Array) -> tuple[Array, Any]: ...
    def reorder(self, state: Any, rows: Array) -> Any: ...


class EncoderDecoder:
    """A decoder as above, of a network like `models.ofa.OFA` that has encoded its inputs.

    Args:
      memory: what the encoder gave for B examples.
      prefixes, adapters: the decoder's, or None.
    """

    def __init__(self, network: Any, memory: Any, prefixes: Any = None, adapters: Any = None):
        self._network, self._memory = network, memory
        self._prefixes, self._adapters = prefixes, adapters

    def start(self, beams: int, length: int) -> Any:
        return self._network.start(self._memory, length, self._prefixes, beams=beams)

    def step(self, state: Any, ids: Array, position: Array) -> tuple[Array, Any]:
        return self._network.step(self._memory, state, ids, position, adapters=self._adapters)

    def reorder(self, state: Any, rows: Array) -> Any:
        return state.rearranged(rows)


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Settings of the search.

    Attributes:
      beams: K, hypotheses that are followed, and that are returned; 1: greedy.
      max_length, min_length: tokens of a sequence without </s>.
      length_penalty: the power of the length that a score is divided by; above 1 favours long
        sequences, 0 leaves sums as they are, for closed answers.
      no_repeat: n: no n tokens in a row come twice; 0: off.
      count_forced: whether forced tokens count in lengths and scores, as in the reference. If not,
        all are those of what follows, and `max_length` leaves room for it behind any prefix.

    Raises:
      UsageError: a value out of range.
    """

    beams: int = 5
    max_length: int = 16
    min_length: int = 1
    length_penalty: float = 1.0
    no_repeat: int = 0
    count_forced: bool = True

    def __post_init__(self):
        for name, holds, expected in (
            ("beams", self.beams >= 1, "at least 1 (1: greedy)"),
            ("max_length", self.max_length >= 1, "at least 1"),
            ("min_length", 0 <= self.min_length <= self.max_length, "0 to max_length"),
            ("length_penalty", math.isfinite(self.length_penalty), "a finite number (0: sums)"),
            ("no_repeat", self.no_repeat >= 0, "an integer of at least 0 (0: off)"),
        ):
            if not holds:
                raise UsageError(f"search.{name} = {getattr(self, name)!r}, expected {expected}")


@struct.dataclass
class Hypotheses:
    """What was found, the best first.

    Attributes:
      tokens: int32 [B, K, T], without <s>, with </s>, filled up with PAD.
      scores: [B, K], falling; -inf where fewer than K were found.
      token_scores: [B, K, T], the log-probability of each token; 0 behind </s>.
    """

    tokens: Array
    scores: Array
    token_scores: Array


@struct.dataclass
class _Search:
    """The loop's state.

    Attributes:
      step: how many ids have been taken.
      tokens, token_scores: [B, K, T], of the hypotheses that go on; sums: [B, K], -inf: not there.
      node: [B, K], where they are in the constraint.
      state: the decoder's.
      found: the finished, in the order of finishing; count: [B], how many.
    """

    step: Array
    tokens: Array
    token_scores: Array
    sums: Array
    node: Array
    state: Any
    found: Hypotheses
    count: Array


def make_search(build: Callable[[], Decoder]) -> Callable[..., Hypotheses]:
    """Builds search(config, batch, forced=None, constraint=None) -> Hypotheses.

    Args:
      build: gives the decoder; a Partial's bound arrays may change without a new compilation.

    Returns:
      A function of
        config: the settings, all compiled in.
        batch: B.
        forced: int32 [B, P] of ids that each sequence begins with, after <s>, each row filled up
          with PAD at its end; None: none.
        constraint: what may follow the forced ids; see `constraints`. None: everything.
      It raises UsageError for arguments that do not fit.
    """
    model = bound(build)

    def search(
        config: SearchConfig,
        batch: int,
        forced: ArrayLike | None = None,
        constraint: Constraint | None = None,
    ) -> Hypotheses:
        forced = np.zeros((batch, 0), np.int32) if forced is None else np.asarray(forced, np.int32)
        _check(config, batch, forced, constraint)
        return _compiled(config)(model, forced, Free() if constraint is None else constraint)

    return search


def _check(config: SearchConfig, batch: int, forced: np.ndarray, constraint) -> None:
    if forced.ndim != 2 or len(forced) != batch:
        raise UsageError(
            f"forced ids of shape {forced.shape} for {batch} sequences: expected [{batch}, length]"
        )
    there = forced != PAD
    if (there[:, 1:] > there[:, :-1]).any():
        row = int(np.argmax((there[:, 1:] > there[:, :-1]).any(1)))
        raise UsageError(
            f"forced ids {forced[row].tolist()} in row {row}: expected {PAD} (padding) only at the "
            "end: move it there"
        )
    longest = int(there.sum(1).max(initial=0)) if config.count_forced else 0
    if longest >= config.max_length:
        raise UsageError(
            f"search.max_length = {config.max_length}, but {longest} ids are forced and count: "
            "expected more; raise it or set count_forced=False"
        )
    if isinstance(constraint, Trie) and longest + constraint.depth > config.max_length:
        raise UsageError(
            f"search.max_length = {config.max_length}, but closed answers have up to "
            f"{constraint.depth} tokens behind {longest} forced ones: set it to "
            f"{longest + constraint.depth} or more"
        )


@functools.cache
def _compiled(config: SearchConfig) -> Callable:
    """The jitted function, one for all searches of these settings: equal shapes compile once."""
    beams = config.beams

    @jax.jit
    def run(build, forced: Array, constraint: Constraint) -> Hypotheses:
        decoder, (batch, width) = build(), forced.shape
        lengths = jnp.sum(forced != PAD, axis=1)  # [B]
        uncounted = jnp.zeros_like(lengths) if config.count_forced else lengths
        total = config.max_length + (0 if config.count_forced else width) + 1  # T
        forced = forced[:, :total]  # the rest is padding
        forced = jnp.pad(forced, [(0, 0), (0, total - forced.shape[1])], constant_values=PAD)

        def flat(x: Array) -> Array:
            return x.reshape(batch * beams, *x.shape[2:])

        def log_probabilities(search: _Search, logits: Array) -> Array:
            """What each id adds to the sum, [B, K, V]; -inf: not allowed."""
            vocabulary = logits.shape[-1]
            length = (search.step - uncounted)[:, None, None]  # [B, 1, 1]
            now = forced[:, search.step][:, None, None]
            is_forced = now != PAD
            allowed = constraint.allowed(flat(search.node), vocabulary)
            allowed = allowed.reshape(batch, beams, vocabulary) | is_forced
            logits = logits.astype(jnp.float32).reshape(batch, beams, vocabulary)
            logits = jnp.where(allowed, logits, -jnp.inf)
            scores = jnp.where(allowed, jax.nn.log_softmax(logits), -jnp.inf)
            ids = jnp.arange(vocabulary)
            gone = (ids == PAD) | (ids == END) & (length < config.min_length)
            gone |= (ids != END) & (length >= config.max_length)
            if config.no_repeat:
                gone |= _repeated(search.tokens, search.step, config.no_repeat, vocabulary)
            gone = jnp.where(is_forced, ids != now, gone)
            if not config.count_forced:
                scores = jnp.where(is_forced, 0.0, scores)
            return jnp.where(gone, -jnp.inf, scores)

        def step(search: _Search) -> _Search:
            last = search.tokens[:, :, jnp.maximum(search.step - 1, 0)]
            last = jnp.where(search.step == 0, START, last)  # [B, K]
            # 1. What each id would add.
            logits, state = decoder.step(search.state, flat(last), search.step)
            added = log_probabilities(search, logits)
            # 2. The best 2 K over all beams, in falling order.
            vocabulary = added.shape[-1]
            sums = (search.sums[:, :, None] + added).reshape(batch, beams * vocabulary)
            best, where = jax.lax.top_k(sums, min(2 * beams, beams * vocabulary))  # [B, 2K]
            beam, ids = where // vocabulary, where % vocabulary
            gain = jnp.take_along_axis(added.reshape(batch, -1), where, axis=1)
            ended = (ids == END) & (best > -jnp.inf)

            def continued(some: Array) -> tuple[Array, Array]:
                """Tokens and their scores [B, n, T] of some [B, n] of the 2 K."""
                pick = lambda x: jnp.take_along_axis(x, some, axis=1)
                rows = pick(beam)[:, :, None]
                tokens = jnp.take_along_axis(search.tokens, rows, axis=1)
                scores = jnp.take_along_axis(search.token_scores, rows, axis=1)
                at = search.step
                return tokens.at[:, :, at].set(pick(ids)), scores.at[:, :, at].set(pick(gain))

            # 3. Those of the best K that end.
            first = jnp.broadcast_to(jnp.arange(beams), (batch, beams))
            length = (search.step + 1 - uncounted)[:, None].astype(jnp.float32)
            scores = best[:, :beams] / length**config.length_penalty
            found, count = _finish(search, ended[:, :beams], scores, *continued(first))

            # 4. The first K that do not.
            going = jnp.argsort(ended, axis=1, stable=True)[:, :beams]  # [B, K]
            tokens, token_scores = continued(going)
            pick = lambda x: jnp.take_along_axis(x, going, axis=1)
            beam, ids = pick(beam), pick(ids)
            node = jnp.take_along_axis(search.node, beam, axis=1)
            after = constraint.advance(flat(node), flat(ids)).reshape(batch, beams)
            is_forced = forced[:, search.step][:, None] != PAD
            if beams > 1:
                rows = jnp.arange(batch)[:, None] * beams + beam
                state = decoder.reorder(state, flat(rows))
            return _Search(
                step=search.step + 1,
                tokens=tokens,
                token_scores=token_scores,
                sums=pick(best),
                node=jnp.where(is_forced, node, after),
                state=state,
                found=found,
                count=count,
            )

        def unfinished(search: _Search) -> Array:
            hopeful = jnp.any(search.sums > -jnp.inf, axis=1)
            return (search.step < total) & jnp.any((search.count < beams) & hopeful)

        empty = jnp.full((batch, beams, total), PAD, jnp.int32)
        zeros = jnp.zeros((batch, beams, total), jnp.float32)
        one = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)  # a single beam to begin with
        start = _Search(
            step=jnp.zeros((), jnp.int32),
            tokens=empty,
            token_scores=zeros,
            sums=jnp.broadcast_to(one, (batch, beams)),
            node=jnp.broadcast_to(constraint.start(batch)[:, None], (batch, beams)),
            state=decoder.start(beams, total),
            found=Hypotheses(empty, jnp.full((batch, beams), -jnp.inf), zeros),
            count=jnp.zeros(batch, jnp.int32),
        )
        found = jax.lax.while_loop(unfinished, step, start).found
        # The first of equals is the one that was finished first.
        order = jnp.argsort(-found.scores, axis=1, stable=True)  # [B, K]
        rows = jnp.arange(batch)[:, None]
        return jax.tree.map(lambda x: x[rows, order], found)

    return run


def _finish(
    search: _Search, ended: Array, scores: Array, tokens: Array, token_scores: Array
) -> tuple[Hypotheses, Array]:
    """Puts the best K [B, K, …] that ended behind those found before, as long as there is room."""
    batch, beams = ended.shape
    slots = search.count[:, None] + jnp.cumsum(ended, axis=1) - 1
    slots = jnp.where(ended, slots, beams)  # no slot: dropped
    rows = jnp.arange(batch)[:, None]
    put = lambda old, new: old.at[rows, slots].set(new, mode="drop")
    found = jax.tree.map(put, search.found, Hypotheses(tokens, scores, token_scores))
    return found, jnp.minimum(search.count + jnp.sum(ended, axis=1), beams)


def _repeated(tokens: Array, step: Array, size: int, vocabulary: int) -> Array:
    """Ids that would end an n-gram which stands in tokens [B, K, T] already: bool [B, K, V].

    <s> counts as the token before them. After <s> 5 6 5 with bigrams, 6 would be the second 5 6.
    """
    batch, beams, total = tokens.shape
    history = jnp.pad(tokens, [(0, 0), (0, 0), (1, 0)], constant_values=START)  # [B, K, T + 1]
    # n-gram i ends at history[i + size - 1]; the last token taken is history[step].
    starts = jnp.arange(total + 1 - (size - 1))  # [n]
    same = jnp.broadcast_to(starts + size - 1 <= step, (batch, beams, len(starts)))
    for offset in range(size - 1):
        now = jax.lax.dynamic_index_in_dim(
            history, jnp.maximum(step - (size - 2) + offset, 0), axis=2
        )
        same &= history[:, :, offset : offset + len(starts)] == now
    ends = jnp.where(same, history[:, :, size - 1 :], vocabulary)
    rows = jnp.arange(batch)[:, None, None], jnp.arange(beams)[None, :, None]
    return jnp.zeros((batch, beams, vocabulary), bool).at[*rows, ends].set(True, mode="drop")

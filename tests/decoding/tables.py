"""A decoder whose logits are a table, and a search over it that a reader can follow."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from maskgit_prompt.models.specials import END, PAD, START

HASHES = 11


class Table:
    """Logits that depend on the example and on all ids so far, by way of a small hash of them.

    table: [B, HASHES, V]. The state is each sequence's hash, so an order that is not kept shows.
    """

    def __init__(self, table):
        self.table = table

    def start(self, beams: int, length: int):
        rows = jnp.zeros(len(self.table) * beams, jnp.int32)
        return {"hash": rows, "read": jnp.zeros(length, jnp.int32)}

    def step(self, state, ids, position):
        now = (3 * state["hash"] + ids + 1) % HASHES
        example = jnp.arange(len(ids)) // (len(ids) // len(self.table))
        # Every position of the room that was asked for is read at most once.
        logits = jnp.where(state["read"][position] == 0, self.table[example, now], jnp.nan)
        return logits, {"hash": now, "read": state["read"].at[position].add(1)}

    def reorder(self, state, rows):
        return state | {"hash": state["hash"][rows]}


def table(batch: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.5, (batch, HASHES, vocabulary)).astype(np.float32)


def log_probabilities(rows: np.ndarray, ids: tuple[int, ...], allowed=None) -> np.ndarray:
    """[V] of the next id after `ids`; rows: [HASHES, V]; allowed: those that may come, or all."""
    now = 0
    for id_ in (START, *ids):
        now = (3 * now + id_ + 1) % HASHES
    logits = rows[now].astype(np.float64)
    keep = np.zeros(len(logits), bool)
    keep[list(range(len(logits)) if allowed is None else allowed)] = True
    return np.where(keep, logits, -np.inf) - np.log(np.exp(logits[keep]).sum())


def every(rows: np.ndarray, longest: int, fits, allowed=lambda ids: None, behind=()) -> list:
    """(sum of log-probabilities, ids with END) of all sequences that fit.

    fits: of ids without END -> bool. allowed: of ids so far -> ids that may come next, or None.
    behind: ids that come first, which neither `longest`, `fits` nor the sum counts.
    """
    found, others = [], [i for i in range(rows.shape[1]) if i not in (PAD, END)]
    for length in range(longest + 1):
        for ids in filter(fits, itertools.product(others, repeat=length)):
            total, so_far = 0.0, tuple(behind)
            for id_ in (*ids, END):
                total += log_probabilities(rows, so_far, allowed(so_far))[id_]
                so_far += (id_,)
            if np.isfinite(total):
                found.append((float(total), so_far))
    return found


def followed(rows, beams: int, longest: int, shortest: int, power: float) -> list:
    """(score, ids with END): beam search as a list of sequences, the best first."""
    alive, done = [(0.0, ())], []
    for length in range(longest + 1):
        candidates = []
        for total, ids in alive:
            scores = log_probabilities(rows, ids)
            for id_, score in enumerate(scores):
                late, early = length == longest and id_ != END, length < shortest and id_ == END
                if id_ != PAD and not late and not early:
                    candidates.append((total + score, (*ids, id_)))
        candidates = sorted(candidates, key=lambda x: -x[0])[: 2 * beams]
        for total, ids in candidates[:beams]:
            if ids[-1] == END and len(done) < beams:
                done.append((total / len(ids) ** power, ids))
        if len(done) == beams:
            break
        alive = [(total, ids) for total, ids in candidates if ids[-1] != END][:beams]
    return sorted(done, key=lambda x: -x[0])


def listed(found, example: int) -> list[tuple[float, tuple[int, ...]]]:
    """What the search found for an example, as (score, ids with END); missing ones are left out."""
    tokens, scores = np.asarray(found.tokens[example]), np.asarray(found.scores[example])
    rows = [tuple(int(id_) for id_ in row if id_ != PAD) for row in tokens]
    return [(float(s), ids) for s, ids in zip(scores, rows, strict=True) if np.isfinite(s)]


def same(found: list, expected: list) -> None:
    assert [ids for _, ids in found] == [ids for _, ids in expected]
    np.testing.assert_allclose([s for s, _ in found], [s for s, _ in expected], rtol=1e-5)


def partial(values) -> jax.tree_util.Partial:
    return jax.tree_util.Partial(Table, jnp.asarray(values))

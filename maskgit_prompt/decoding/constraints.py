"""Which token ids may come next: any, those of a range, or those that go on in a trie of answers.

A constraint is an argument of the compiled search, so other answers or another range need no new
compilation. It has

    start(batch)                   -> node [B], where every sequence begins
    allowed(node [R], vocabulary)  -> bool [R, V]
    advance(node [R], ids [R])     -> node [R], after an allowed id

The search sets the logits of all other ids to -inf before the softmax, so that probabilities are
those among the allowed ids. R stands for any number of sequences.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from maskgit_prompt.errors import UserError
from maskgit_prompt.models.specials import END

Array = jax.Array
NOTHING = -1  # the id of a node that no id leads to


class Constraint(Protocol):
    """See the module's docstring."""

    def start(self, batch: int) -> Array: ...
    def allowed(self, node: Array, vocabulary: int) -> Array: ...
    def advance(self, node: Array, ids: Array) -> Array: ...


@struct.dataclass
class Free:
    """Every id may come next."""

    def start(self, batch: int) -> Array:
        return jnp.zeros(batch, jnp.int32)

    def allowed(self, node: Array, vocabulary: int) -> Array:
        return jnp.ones((len(node), vocabulary), bool)

    def advance(self, node: Array, ids: Array) -> Array:
        return node


@struct.dataclass
class IdRange(Free):
    """Ids low .. high - 1, as of the bins of a box, and the few that `others` names.

    IdRange(4, 6) of 8 ids allows 2, 4, 5; with others=(0, 1, 2, 3), as the reference has it, all
    but 6 and 7.
    """

    low: ArrayLike
    high: ArrayLike
    others: tuple[int, ...] = struct.field(pytree_node=False, default=(END,))

    def allowed(self, node: Array, vocabulary: int) -> Array:
        ids = jnp.arange(vocabulary)
        others = np.isin(np.arange(vocabulary), self.others)
        row = (ids >= self.low) & (ids < self.high) | others  # [V]
        return jnp.broadcast_to(row, (len(node), vocabulary))


@struct.dataclass
class Trie:
    """Answers as paths. Nodes are numbered level by level: a node's children are neighbours.

    The answers (5, 6), (5, 7) and (8) make

        node       0    1    2    3    4
        token     -1    5    8    6    7        the id that leads to it
        first      1    3    5    5    5   5    its children are first[n] .. first[n + 1] - 1
        ends       -    -    yes  yes  yes      an answer ends here: </s> may follow

    Several sets of answers, such as each question's own, lie in one trie with a root for each.
    All arrays are as long as the next power of two, and so is the window that holds a node's
    children: tries of one such size share a compiled program.

    Attributes:
      token: int32 [nodes]; first: int32 [nodes + 1]; ends: bool [nodes].
      roots: int32 [sets], or [B] after `rooted`.
      depth: ids of the longest answer, without </s>.
      fanout: the window, at least as wide as a node has children.
    """

    token: Array
    first: Array
    ends: Array
    roots: Array
    depth: ArrayLike
    fanout: int = struct.field(pytree_node=False)

    def rooted(self, sets: Sequence[int] | np.ndarray) -> "Trie":
        """The same for a batch whose example b is answered from set sets[b]."""
        return self.replace(roots=np.asarray(self.roots)[np.asarray(sets)])

    def start(self, batch: int) -> Array:
        roots = jnp.asarray(self.roots)
        if len(roots) == 1:  # one set for all
            return jnp.broadcast_to(roots, (batch,))
        if len(roots) != batch:
            raise UserError(
                f"a trie with {len(roots)} sets of answers for {batch} examples: expected one set, "
                "or one per example: call rooted(sets) with the number of each example's set"
            )
        return roots

    def allowed(self, node: Array, vocabulary: int) -> Array:
        child, there = self._children(node)  # [R, fanout]
        # Where there is no child, the id lies beyond the vocabulary, and mode="drop" ignores it.
        ids = jnp.where(there, self._token(child), vocabulary)
        rows = jnp.arange(len(node))[:, None]
        mask = jnp.zeros((len(node), vocabulary), bool).at[rows, ids].set(True, mode="drop")
        return mask.at[:, END].max(jnp.asarray(self.ends)[node])

    def advance(self, node: Array, ids: Array) -> Array:
        child, there = self._children(node)
        taken = there & (self._token(child) == ids[:, None])
        # No child where </s> or a dead hypothesis goes on: nobody looks at it again.
        return jnp.max(jnp.where(taken, child, 0), axis=1)

    def _token(self, child: Array) -> Array:
        return jnp.asarray(self.token)[jnp.minimum(child, len(self.token) - 1)]

    def _children(self, node: Array) -> tuple[Array, Array]:
        """(numbers of the nodes in the window [R, fanout], which of them are children)."""
        first = jnp.asarray(self.first)
        child = first[node][:, None] + jnp.arange(self.fanout)
        return child, child < first[node + 1][:, None]


def make_trie(answers: Iterable[Sequence[int]]) -> Trie:
    """A trie of one set of answers, token ids without <s> and </s>.

    Raises:
      UserError: no answers, or an empty one.
    """
    return make_tries([answers])


def make_tries(sets: Sequence[Iterable[Sequence[int]]]) -> Trie:
    """A trie with a root for each set of answers.

    Raises:
      UserError: a set without answers, or an empty answer.
    """
    roots: list[dict[int, Any]] = []
    depth = 0
    for number, answers in enumerate(sets):
        root: dict[int, Any] = {}
        for answer in answers:
            if not len(answer):
                raise UserError(
                    f"an empty answer in set {number} of closed answers: expected at least one "
                    "token each: leave it out"
                )
            node = root
            for token in answer:
                node = node.setdefault(int(token), {})
            node[END] = {}
            depth = max(depth, len(answer))
        if not root:
            raise UserError(f"no answers in set {number} of closed answers: expected at least one")
        roots.append(root)
    token, first, ends, level = [NOTHING] * len(roots), [], [], roots
    while level:
        children = []
        for node in level:
            first.append(len(token))
            ends.append(END in node)
            inner = [(id_, child) for id_, child in sorted(node.items()) if id_ != END]
            token += [id_ for id_, _ in inner]
            children += [child for _, child in inner]
        level = children
    size = _next_power(len(token))
    missing = size - len(token)
    widths = np.diff([*first, len(token)])
    return Trie(
        token=np.pad(np.array(token, np.int32), (0, missing), constant_values=NOTHING),
        first=np.pad(np.array(first, np.int32), (0, missing + 1), constant_values=len(token)),
        ends=np.pad(np.array(ends, bool), (0, missing)),
        roots=np.arange(len(roots), dtype=np.int32),
        depth=np.int32(depth),
        fanout=_next_power(int(widths.max())),
    )


def _next_power(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def along(constraint: Constraint, targets: ArrayLike, vocabulary: int) -> Array:
    """What was allowed at each id of targets [B, L], which end with </s>: bool [B, L, V].

    For losses that are taken among the allowed ids. With the answers (5, 6) and (8), the target
    5 6 </s> had 5 or 8, then 6, then </s>.
    """
    targets = jnp.asarray(targets)

    def step(node: Array, ids: Array) -> tuple[Array, Array]:
        return constraint.advance(node, ids), constraint.allowed(node, vocabulary)

    _, masks = jax.lax.scan(step, constraint.start(len(targets)), targets.T)  # [L, B, V]
    return jnp.swapaxes(masks, 0, 1)


def holds(trie: Trie, answer: Sequence[int], root: int = 0) -> bool:
    """Whether a set of answers has this one, token ids without <s> and </s>."""
    token, first, node = np.asarray(trie.token), np.asarray(trie.first), root
    for wanted in answer:
        children = np.arange(first[node], first[node + 1])
        found = children[token[children] == wanted]
        if not len(found):
            return False
        node = found[0]
    return bool(np.asarray(trie.ends)[node])

"""Answers of a tuned encoder-decoder, by beam search, with how sure it was of them."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from maskgit_prompt.backbones.compiled import in_batches
from maskgit_prompt.data.text.tokenizer import Tokenizer
from maskgit_prompt.decoding.beam import EncoderDecoder, SearchConfig, make_search
from maskgit_prompt.decoding.constraints import Constraint
from maskgit_prompt.devices import sharding
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.params import Tree
from maskgit_prompt.progress import progress
from maskgit_prompt.tasks.multimodal.batches import Pictures
from maskgit_prompt.tasks.multimodal.model import Multimodal, Opened


@dataclasses.dataclass(frozen=True)
class Answers:
    """The best hypothesis of each of n examples.

    Attributes:
      texts: what was written.
      scores: float32 [n], mean log-probability of its tokens, or as the length penalty has it.
    """

    texts: list[str]
    scores: np.ndarray


class Answerer:
    """Compiled once for all batches of one size.

    Args:
      constraint: for all examples, or for each of sharding.whole(size, mesh).
      size: examples at once, on all devices together.
    """

    def __init__(
        self,
        model: Multimodal,
        tokenizer: Tokenizer,
        search: SearchConfig,
        constraint: Constraint | None,
        mesh: Mesh,
        size: int,
    ):
        self._model, self._tokenizer, self._mesh = model, tokenizer, mesh
        self._search, self._constraint = search, constraint
        self._size = sharding.whole(size, mesh)
        self._opened = jax.jit(lambda tree: model.opened(tree, self._size))
        self._encoded = jax.jit(model.memory)

    def __call__(
        self,
        tree: Tree,
        pictures: Pictures,
        sources: np.ndarray,
        prefixes: Prefixes | None = None,
        what: str = "answer",
    ) -> Answers:
        """The answers to all of sources [n, L].

        Args:
          tree: all parameters, on the mesh.
          pictures: rows -> uint8 [k, S, S, 3].
          prefixes: of each example, in place of the model's own.
        """
        number = len(sources)
        with jax.set_mesh(self._mesh), progress(number, what, "image", delay=5.0) as bar:
            parts = self._opened(tree)

            def one(rows: np.ndarray) -> np.ndarray:
                own = parts
                if prefixes is not None:
                    own = parts.replace(prefixes=prefixes[rows])
                found = self._found(own, pictures(rows), sources[rows])
                bar.update(min(len(rows), len(np.unique(rows))))
                return found

            found = in_batches(one, np.arange(number), self._size)  # [n, T + 1]
        tokens = found[:, :-1].astype(np.int64)
        return Answers([self._tokenizer.decode(ids).strip() for ids in tokens], found[:, -1])

    def _found(self, parts: Opened, images: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Tokens of the best hypotheses, and behind them their scores, float32 [B, T + 1]."""
        batch = sharding.to_global({"images": images, "source": sources}, self._mesh)
        memory = self._encoded(parts, batch)
        search = make_search(
            jax.tree_util.Partial(
                EncoderDecoder,
                parts.network,
                memory,
                parts.prefixes,
                parts.adapters.get("decoder"),
            )
        )
        found = search(self._search, len(images), None, self._constraint)
        best = [sharding.to_host(x[:, 0], self._mesh) for x in (found.tokens, found.scores)]
        return np.concatenate([best[0].astype(np.float32), best[1][:, None]], axis=1)

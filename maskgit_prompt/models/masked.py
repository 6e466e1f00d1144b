"""The bidirectional transformer of MaskGIT (arXiv 2202.04200), with prompts in front.

Shapes: B batch, L image codes, P prompt tokens, D width, V codebook, S sequence.
The vocabulary is V codes, then the classes, then one row for a masked token. The sequence is
one class slot at position 0 and L codes at positions 1 to L. Prompt tokens take the class slot's
place and have no position of their own, so a model with a full position table still takes prompts
(arXiv 2210.00990, section 3).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.attention import Attention, check_heads
from maskgit_prompt.models.kind import Kind
from maskgit_prompt.models.layers import (
    BLOCK_AXES,
    Mlp,
    Pin,
    as_it_is,
    dropout,
    kernel_init,
    run_blocks,
)
from maskgit_prompt.models.prompts import Prompt, first_tokens

Array = jax.Array

MASK = -1  # stands for a code to be predicted, and for a class slot without class
EPSILON = 1e-12


@dataclasses.dataclass(frozen=True)
class MaskedConfig:
    """Sizes of a masked transformer.

    Attributes:
      codebook: V, how many image codes there are.
      classes: how many classes the backbone was trained on.
      length: L, codes per image.
      width, layers, heads, mlp: D, depth, attention heads, hidden width of the MLPs.
      dropout: rate on the embedding and on both branches of a block, in training only.
      dtype: of activations; parameters and softmax stay float32.
      attention_implementation: as in `attention.attention`.
      remat: recompute in the backward pass what is cheap. At the published size and batch 4 a
        step of prompt tuning needs 0.9 GiB beside the weights instead of 3.3, for 1.4 % more
        operations.
    """

    codebook: int
    classes: int
    length: int
    width: int = 768
    layers: int = 24
    heads: int = 16
    mlp: int = 3072
    dropout: float = 0.0
    dtype: str = "float32"
    attention_implementation: str = "auto"
    remat: bool = False

    def __post_init__(self):
        check_heads(self.width, self.heads)

    @property
    def vocabulary(self) -> int:
        return self.codebook + self.classes + 1


# The transformers of google-research/maskgit.
CONFIGS = {
    "imagenet256": MaskedConfig(codebook=1024, classes=1000, length=256),
    "imagenet512": MaskedConfig(codebook=1024, classes=1000, length=1024),
}


class Block(nnx.Module):
    """Post-norm block: x = LN(x + attention(x)); x = LN(x + mlp(x))."""

    def __init__(self, cfg: MaskedConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        norm = lambda: nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.rate = cfg.dropout
        self.attention = Attention(
            cfg.width,
            cfg.heads,
            implementation=cfg.attention_implementation,
            dtype=dtype,
            rngs=rngs,
        )
        self.attention_norm = norm()
        self.mlp = Mlp(cfg.width, cfg.mlp, dtype=dtype, rngs=rngs)
        self.mlp_norm = norm()

    def __call__(self, x: Array, prefix: Array | None = None, key: Array | None = None) -> Array:
        """[B, S, D] -> [B, S, D]; prefix: [B, 2, P, D], keys and values."""
        keys = (None, None) if key is None else jax.random.split(key)
        attention = self.attention(x, prefix=prefix)
        x = self.attention_norm(x + dropout(attention, self.rate, keys[0]))
        return self.mlp_norm(x + dropout(self.mlp(x), self.rate, keys[1]))


class Head(nnx.Module):
    """What follows the blocks: dense, GELU, LayerNorm, and a bias for every word."""

    def __init__(self, cfg: MaskedConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        self.dense = nnx.Linear(
            cfg.width, cfg.width, dtype=dtype, kernel_init=kernel_init, rngs=rngs
        )
        self.norm = nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(cfg.vocabulary))

    def __call__(self, x: Array) -> Array:  # [B, S, D] -> [B, S, D]
        return self.norm(jax.nn.gelu(self.dense(x), approximate=True))


def _run(block: Block, x: Array, prefix: Array | None, key: Array | None) -> Array:
    return block(x, prefix, key)


class MaskedTransformer(nnx.Module):
    """Predicts every image code from the codes that are not masked, and a prompt or a class."""

    def __init__(self, cfg: MaskedConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.words = nnx.Param(kernel_init(rngs.params(), (cfg.vocabulary, cfg.width)))
        self.positions = nnx.Param(kernel_init(rngs.params(), (1 + cfg.length, cfg.width)))
        self.embedding_norm = nnx.LayerNorm(
            cfg.width, epsilon=EPSILON, dtype=jnp.dtype(cfg.dtype), rngs=rngs
        )
        # One Block whose every parameter has a leading dimension of layers.
        self.blocks = jax.vmap(lambda rngs: Block(cfg, rngs=rngs))(rngs.split(cfg.layers))
        self.head = Head(cfg, rngs=rngs)

    def embed(self, ids: Array, first: int) -> Array:
        """Ids [B, S] that stand at positions first, first + 1, … -> [B, S, D]."""
        words = self.words[...][jnp.where(ids == MASK, self.cfg.vocabulary - 1, ids)]  # [B, S, D]
        return self.embedding_norm(words + self.positions[first : first + ids.shape[1]])

    def hidden(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        keep_layers: bool = False,
        pin: Pin = as_it_is,
    ) -> tuple[Array, Array | None]:
        """Runs embedding and blocks.

        Args:
          codes: [B, L'] int, L' <= L, MASK where masked.
          prompt: its tokens stand in front. With None or a prefix, the class slot does.
          class_ids: [B] int, the backbone's classes, MASK for none; only without prompt tokens.
          key: for dropout; None is deterministic.
          keep_layers: also return every block's output.
          pin: called with every block's [B, S, D]; fixes where it lies on a mesh, which a model
            does not know.

        Returns:
          ([B, S, D] with S = P + L' or 1 + L', [layers, B, S, D] or None).
        """
        return run_blocks(
            self.cfg,
            self.blocks,
            self._inputs(codes, prompt, class_ids),
            prompt,
            _run,
            key=key,
            keep_layers=keep_layers,
            pin=pin,
        )

    def _inputs(self, codes: Array, prompt: Prompt | None, class_ids: Array | None) -> Array:
        """The prompt or the class slot, and codes with their positions, [B, S, D]."""
        front = first_tokens(prompt)
        if front is None:
            none = jnp.full(len(codes), MASK)
            front = self.class_prompt(none if class_ids is None else class_ids).tokens
        x = self.embed(codes, 1)  # [B, L', D]
        return jnp.concatenate([front.astype(x.dtype), x], axis=1)  # [B, P + L', D]

    def attention_weights(
        self, codes: Array, prompt: Prompt | None = None, class_ids: Array | None = None
    ) -> Array:
        """How much each token looks at each, mean over images and heads, [layers, S, S] float32.

        Arguments and S as in `hidden`. With a prefix [layers, S, P + S]: its columns come first.
        """
        x = self._inputs(codes, prompt, class_ids)
        watch = lambda block, x, prefix: block.attention.weights(x, None, prefix).mean((0, 1))
        return run_blocks(self.cfg, self.blocks, x, prompt, _run, watch=watch)[1]

    def class_prompt(self, class_ids: Array) -> Prompt:
        """The class slots of ids [B], MASK for none, as a prompt of one token [B, 1, D].

        It makes the transformer compute the same as `class_ids` without a prompt.
        """
        ids = jnp.where(class_ids < 0, MASK, class_ids + self.cfg.codebook)
        return Prompt(tokens=self.embed(ids[:, None], 0))

    def __call__(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        """Logits of the whole vocabulary at all positions, [B, S, V + classes + 1] float32.

        Arguments as in `hidden`. The prompt's or the class slot's positions come first.
        """
        x, _ = self.hidden(codes, prompt, class_ids, key)
        return self._logits(x, self.cfg.vocabulary)

    def code_logits(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Logits of the codes at the image positions only, [B, L, V] float32."""
        x, _ = self.hidden(codes, prompt, class_ids, key, pin=pin)
        return self._logits(x[:, -codes.shape[1] :], self.cfg.codebook)

    def _logits(self, x: Array, rows: int) -> Array:  # [B, S, D] -> [B, S, rows]
        words = self.words[:rows].astype(x.dtype)
        logits = jnp.einsum("bsd,vd->bsv", self.head(x), words)
        return logits.astype(jnp.float32) + self.head.bias[:rows]


AXES = (
    (r"words", ("words", "embed")),
    (r"positions", ("positions", "embed")),
    *BLOCK_AXES,
    (r"head/dense/kernel", ("inputs", "embed")),
    (r"head/bias", ("words",)),
    (r"(embedding_norm|head/dense|head/norm)/(bias|scale)", ("embed",)),
)
KIND = Kind(
    "transformer",
    "masked",
    MaskedConfig,
    MaskedTransformer,
    AXES,
    decoding="parallel",
    project="MaskGIT",
)

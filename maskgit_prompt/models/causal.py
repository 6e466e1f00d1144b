"""The causal transformer of Taming Transformers (arXiv 2012.09841), with prompts in front.

Shapes: B batch, L image codes, P prompt tokens, D width, V codebook, S sequence.
The sequence is [prompt] [label] codes, where either part in front may be missing. A label is a row
of the codes' own table. The label stands at position 0 and the codes at positions 1, 2, … Prompt
tokens have no position, with or without a label behind them, so that a published model, whose
positions are all taken by label and codes, still takes prompts. A prompt without a label takes the
label's place: code i is predicted by what stands before it, the first one by the last prompt.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.layers import (
    Attention,
    Mlp,
    Pin,
    as_it_is,
    dropout,
    kernel_init,
    run_blocks,
)
from maskgit_prompt.models.masked import MASK

Array = jax.Array

EPSILON = 1e-5
PROMPT_ATTENTION = ("causal", "both")


@dataclasses.dataclass(frozen=True)
class CausalConfig:
    """Sizes of a causal transformer.

    Attributes:
      codebook: V, rows of the token table: the image codes, whose rows labels share.
      classes: how many classes the source model was trained on, at most V.
      length: L, image codes an image.
      positions: rows of the position table, at least condition + L - 1: the last code is no input.
      width, layers, heads, mlp: D, depth, attention heads, hidden width of the MLPs.
      condition: tokens of the source model's condition: 1 is a label; codes come behind it.
      start: the row in front where there is neither class nor prompt (the reference's sos_token).
      dropout: rate on the embedding and on both branches of a block, in training only. The
        reference's third rate, on attention weights, is not here.
      dtype: what activations are computed in; parameters and softmax stay float32.
      remat: recompute in the backward pass what is cheap.
      unmasked: the first so many tokens of the sequence, whatever they are, all see each other.
      prompt_attention: "causal", or "both": prompt tokens see each other in both directions.
      shifted: the reference's own hook: prompts take positions 0 to P - 1 and all else moves by P.
    """

    codebook: int
    classes: int
    length: int
    positions: int
    width: int = 1536
    layers: int = 48
    heads: int = 24
    mlp: int = 6144
    condition: int = 1
    start: int = 0
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False
    unmasked: int = 0
    prompt_attention: str = "causal"
    shifted: bool = False

    def __post_init__(self):
        if self.prompt_attention not in PROMPT_ATTENTION:
            raise ValueError(
                f"prompt_attention {self.prompt_attention!r}, expected one of "
                f"{', '.join(PROMPT_ATTENTION)}"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if self.classes > self.codebook:
            raise ValueError(f"{self.classes} classes share {self.codebook} rows; too many")
        if self.positions < self.condition + self.length - 1:
            raise ValueError(
                f"{self.positions} positions, expected at least "
                f"{self.condition + self.length - 1} for {self.length} codes"
            )


# Published models. The first takes a label. The others take `condition` codes in its place: crop
# coordinates (faces), depth (D-RIN), objects and crop (scenes); those three numbers are positions
# less the 256 codes of a picture.
_CONDITION = {"classes": 0, "length": 256}
_CODES = CausalConfig(
    codebook=1024, positions=512, width=1024, layers=24, heads=16, mlp=4096, condition=256,
    **_CONDITION,
)  # fmt: skip
_SCENES = {"codebook": 8192, "positions": 348, "heads": 16, "condition": 92, "dropout": 0.1}
CONFIGS = {
    "taming_imagenet_1p4b": CausalConfig(codebook=16384, classes=1000, length=256, positions=256),
    "taming_faceshq": _CODES,
    "taming_drin": _CODES,
    "taming_coco_scenes": CausalConfig(width=1408, layers=40, mlp=5632, **_SCENES, **_CONDITION),
    "taming_openimages_scenes": CausalConfig(
        width=1536, layers=36, mlp=6144, **_SCENES, **_CONDITION
    ),
}


def visible(size: int, corner: int) -> np.ndarray:
    """Which token (column) a token (row) sees: itself and those before; the first `corner`, all.

    visible(3, 0) is 100 110 111, visible(3, 2) is 110 110 111, bool [S, S].
    """
    i = np.arange(size)
    return (i[None, :] <= i[:, None]) | (np.maximum(i[None, :], i[:, None]) < corner)


class Block(nnx.Module):
    """Pre-norm block: x = x + attention(LN(x)); x = x + mlp(LN(x))."""

    def __init__(self, cfg: CausalConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        norm = lambda: nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.rate = cfg.dropout
        self.attention_norm = norm()
        self.attention = Attention(cfg.width, cfg.heads, dtype=dtype, rngs=rngs)
        self.mlp_norm = norm()
        self.mlp = Mlp(cfg.width, cfg.mlp, approximate=False, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array, mask: np.ndarray, key: Array | None = None) -> Array:
        """[B, S, D] -> [B, S, D]; mask: as `visible` gives it."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = x + dropout(self.attention(self.attention_norm(x), mask), self.rate, keys[0])
        return x + dropout(self.mlp(self.mlp_norm(x)), self.rate, keys[1])


class CausalTransformer(nnx.Module):
    """Predicts every image code from those before it, and a prompt or a class."""

    def __init__(self, cfg: CausalConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(cfg.dtype)
        self.cfg = cfg
        self.words = nnx.Param(kernel_init(rngs.params(), (cfg.codebook, cfg.width)))
        self.positions = nnx.Param(jnp.zeros((cfg.positions, cfg.width)))
        # One Block whose every parameter has a leading dimension of layers.
        self.blocks = jax.vmap(lambda rngs: Block(cfg, rngs=rngs))(rngs.split(cfg.layers))
        self.norm = nnx.LayerNorm(cfg.width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(
            cfg.width,
            cfg.codebook,
            use_bias=False,
            dtype=dtype,
            kernel_init=kernel_init,
            rngs=rngs,
        )

    def embed(self, ids: Array, first: int) -> Array:
        """Ids [B, S] that stand at positions first, first + 1, … -> [B, S, D].

        Raises:
          ValueError: there are not so many positions.
        """
        end = first + ids.shape[1]
        if end > self.cfg.positions:
            raise ValueError(
                f"{ids.shape[1]} tokens from position {first} on need {end} positions, the "
                f"transformer has {self.cfg.positions}; give fewer codes (the last is no input), "
                "and prompts without positions (shifted=False)"
            )
        words = self.words[...][jnp.where(ids == MASK, self.cfg.start, ids)]  # [B, S, D]
        return (words + self.positions[first:end]).astype(self.cfg.dtype)

    def class_prompt(self, class_ids: Array) -> Array:
        """Labels [B], MASK for none, as a prompt of one token [B, 1, 1, D].

        With it the transformer computes what it does with `class_ids` and no prompt, unless
        `shifted`. Condition codes [B, condition] give [B, 1, condition, D].
        """
        return self.embed(class_ids.reshape(len(class_ids), -1), 0)[:, None]

    def _inputs(self, codes: Array, prompt: Array | None, class_ids: Array | None) -> Array:
        """[prompt] [label] codes with their positions, [B, S, D]."""
        cfg = self.cfg
        if prompt is None and class_ids is None:
            if cfg.condition > 1:
                raise ValueError(
                    f"nothing stands in front of the codes; give a prompt or class_ids [B, "
                    f"{cfg.condition}]"
                )
            class_ids = jnp.full(len(codes), MASK)
        shift = prompt.shape[2] if prompt is not None and cfg.shifted else 0
        parts, first = [], shift + cfg.condition
        if class_ids is not None:
            label = class_ids.reshape(len(codes), -1)  # [B, condition]
            if label.shape[1] != cfg.condition:
                raise ValueError(
                    f"class_ids {class_ids.shape}: {label.shape[1]} an image, expected "
                    f"{cfg.condition}"
                )
            parts = [self.embed(label, shift)]
        elif cfg.shifted:
            first = shift
        parts.append(self.embed(codes, first))
        if prompt is not None:
            front = prompt[:, 0]  # [B, P, D]
            if cfg.shifted:
                front = front + self.positions[:shift]
            parts.insert(0, front.astype(cfg.dtype))
        return jnp.concatenate(parts, axis=1)  # [B, S, D]

    def hidden(
        self,
        codes: Array,
        prompt: Array | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Runs embedding and blocks.

        Args:
          codes: [B, L'] int, the first L' of an image.
          prompt: [B, 1, P, D], put in front once, or [B, layers, P, D], fresh at every layer
            (VPT-deep, arXiv 2203.12119, eq. 5).
          class_ids: [B] int, labels, MASK for the start token; [B, condition] where a condition is
            longer. Without a prompt, None stands for MASK; with one, for no label.
          key: for dropout; None is deterministic.
          pin: called with every block's [B, S, D]; fixes where it lies on a mesh, which is nothing
            that a model knows.

        Returns:
          [B, S, D] before the final norm, S = P + condition + L', or P + L' without class_ids.

        Raises:
          ValueError: too few positions, a prompt of another depth, a condition of another length.
        """
        if self.cfg.shifted and prompt is not None and prompt.shape[1] > 1:
            raise ValueError(
                f"prompt depth {prompt.shape[1]}, but prompts with positions (shifted) have 1"
            )
        x = self._inputs(codes, prompt, class_ids)
        corner = self.cfg.unmasked
        if prompt is not None and self.cfg.prompt_attention == "both":
            corner = max(corner, prompt.shape[2])
        mask = visible(x.shape[1], corner)
        return run_blocks(
            self.blocks,
            x,
            prompt,
            lambda block, x, key: block(x, mask, key),
            layers=self.cfg.layers,
            rate=self.cfg.dropout,
            key=key,
            remat=self.cfg.remat,
            pin=pin,
        )[0]

    def __call__(
        self,
        codes: Array,
        prompt: Array | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        """Logits of the token that comes next, at all positions, [B, S, V] float32.

        Arguments and S as in `hidden`. The prompt's and the label's positions come first.
        """
        return self._logits(self.hidden(codes, prompt, class_ids, key))

    def code_logits(
        self,
        codes: Array,
        prompt: Array | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Logits that predict every one of codes [B, L'], [B, L', V] float32.

        Those of code i depend on codes before i alone: codes 7 5 9 behind a label c are predicted
        from c, from c 7, and from c 7 5; the 9 is no input. Arguments as in `hidden`.
        """
        x = self.hidden(codes[:, :-1], prompt, class_ids, key, pin)
        return self._logits(x[:, -codes.shape[1] :])

    def _logits(self, x: Array) -> Array:  # [B, S, D] -> [B, S, V]
        return self.head(self.norm(x)).astype(jnp.float32)

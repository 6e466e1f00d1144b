"""The causal transformer of Taming Transformers (arXiv 2012.09841), with prompts in front.

Shapes: B batch, L image codes, P prompt tokens, D width, V codebook, S sequence.
The sequence is [prompt] [label] codes; prompt or label may be missing. A label is a row of the
codes' own table. The label stands at position 0 and the codes at positions 1, 2, … Prompt tokens
have no position, with or without a label behind them. So a published model still takes prompts,
although label and codes use all its positions. A prompt without a label takes the label's place:
what stands before code i predicts it, and the last prompt token predicts the first code.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.models.attention import visible
from maskgit_prompt.models.blocks import PreNorm
from maskgit_prompt.models.cache import Cache, Memory
from maskgit_prompt.models.causal_sizes import CausalConfig
from maskgit_prompt.models.kind import Kind
from maskgit_prompt.models.layers import (
    BLOCK_AXES,
    Pin,
    as_it_is,
    dropout,
    kernel_init,
    per_layer,
    replace_prompt,
    run_blocks,
)
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompts import Prompt, first_tokens

Array = jax.Array

EPSILON = 1e-5


class Block(PreNorm):
    """Pre-norm block: x = x + attention(LN(x)); x = x + mlp(LN(x))."""

    def __init__(self, cfg: CausalConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, EPSILON, rngs=rngs)
        self.rate = cfg.dropout

    def __call__(
        self,
        x: Array,
        mask: np.ndarray,
        prefix: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        """[B, S, D] -> [B, S, D]; mask: as `visible` gives it; prefix: [B, 2, P, D]."""
        keys = (None, None) if key is None else jax.random.split(key)
        attention = self.attention(self.attention_norm(x), mask, prefix)
        x = x + dropout(attention, self.rate, keys[0])
        return x + dropout(self.mlp(self.mlp_norm(x)), self.rate, keys[1])

    def extend(
        self, x: Array, cache: Cache, layer: Array, slot: Array, mask: Array
    ) -> tuple[Array, Cache]:
        """The same for tokens x [B, T, D] that stand at slot, slot + 1, …; slot: [] or [B], mask:
        bool [T, S] or [B, T, S]."""
        queries, keys, values = self.attention.project(self.attention_norm(x))
        cache = cache.write(layer, slot, keys, values)
        x = x + self.attention.attend(queries, *cache.read(layer), mask)
        return x + self.mlp(self.mlp_norm(x)), cache


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
          ValueError: too few positions.
        """
        self._check_positions(ids.shape[1], first)
        end = first + ids.shape[1]
        words = self.words[...][jnp.where(ids == MASK, self.cfg.start, ids)]  # [B, S, D]
        return (words + self.positions[first:end]).astype(self.cfg.dtype)

    def _check_positions(self, count: int, first: int) -> None:
        if first + count > self.cfg.positions:
            raise ValueError(
                f"{count} tokens from position {first} on need {first + count} positions, the "
                f"transformer has {self.cfg.positions}; give fewer codes (the last is not read), "
                "and prompts without positions (shifted=False)"
            )

    def class_prompt(self, class_ids: Array) -> Prompt:
        """Labels [B], MASK for none, as a prompt of one token [B, 1, D].

        It makes the transformer compute the same as `class_ids` without a prompt, unless
        `shifted`. Condition codes [B, condition] give [B, condition, D].
        """
        return Prompt(tokens=self.embed(class_ids.reshape(len(class_ids), -1), 0))

    def _corner(self, prompt: Prompt | None) -> int:
        """How many tokens in front see each other in both directions."""
        tokens = first_tokens(prompt)
        if tokens is None or self.cfg.prompt_attention == "causal":
            return self.cfg.unmasked
        return max(self.cfg.unmasked, tokens.shape[1])

    def _inputs(self, codes: Array, prompt: Prompt | None, class_ids: Array | None) -> Array:
        """[prompt] [label] codes with their positions, [B, S, D]."""
        cfg = self.cfg
        tokens = first_tokens(prompt)
        if cfg.shifted and prompt is not None and prompt.layers is not None:
            raise ValueError(
                f"prompt of layers {prompt.layers.shape}, but prompts with positions (shifted) are "
                "put in front once: give tokens"
            )
        if tokens is None and class_ids is None:
            if cfg.condition > 1:
                raise ValueError(
                    f"nothing stands in front of the codes; give prompt tokens or class_ids [B, "
                    f"{cfg.condition}]"
                )
            class_ids = jnp.full(len(codes), MASK)
        parts = []
        if class_ids is not None:
            label = class_ids.reshape(len(codes), -1)  # [B, condition]
            if label.shape[1] != cfg.condition:
                raise ValueError(
                    f"class_ids {class_ids.shape}: {label.shape[1]} per image, expected "
                    f"{cfg.condition}"
                )
            parts = [self.embed(label, self._position(prompt, class_ids) - cfg.condition)]
        parts.append(self.embed(codes, self._position(prompt, class_ids)))
        if tokens is not None:
            parts.insert(0, self._front(tokens))
        return jnp.concatenate(parts, axis=1)  # [B, S, D]

    def _front(self, tokens: Array) -> Array:
        """A prompt's tokens [B, P, D], with positions if they have any."""
        if self.cfg.shifted:
            tokens = tokens + self.positions[: tokens.shape[1]]
        return tokens.astype(self.cfg.dtype)

    def _position(self, prompt: Prompt | None, class_ids: Array | None) -> int:
        """Where an image's first code stands in the position table."""
        tokens = first_tokens(prompt)
        if not self.cfg.shifted or tokens is None:
            return self.cfg.condition
        return tokens.shape[1] + (0 if class_ids is None else self.cfg.condition)

    def hidden(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Runs embedding and blocks.

        Args:
          codes: [B, L'] int, the first L' of an image.
          prompt: its tokens stand in front; all tokens of a layer see the prefix of that layer.
          class_ids: [B] int, labels, MASK for the start token; [B, condition] if a condition is
            longer. None means MASK without prompt tokens, and no label with them.
          key: for dropout; None is deterministic.
          pin: called with every block's [B, S, D]; fixes where it lies on a mesh, which a model
            does not know.

        Returns:
          [B, S, D] before the final norm, S = P + condition + L', or P + L' without class_ids;
          a prefix counts as P = 0.

        Raises:
          ValueError: too few positions, a prompt for another number of layers, a condition of
            another length.
        """
        x = self._inputs(codes, prompt, class_ids)
        mask = visible(x.shape[1], self._corner(prompt))
        run = lambda block, x, prefix, key: block(x, mask, prefix, key)
        return run_blocks(self.cfg, self.blocks, x, prompt, run, key=key, pin=pin)[0]

    def attention_weights(
        self, codes: Array, prompt: Prompt | None = None, class_ids: Array | None = None
    ) -> Array:
        """How much each token looks at each, mean over images and heads, [layers, S, S] float32.

        Arguments and S as in `hidden`. With a prefix [layers, S, P + S]: its columns come first.
        """
        x = self._inputs(codes, prompt, class_ids)
        mask = visible(x.shape[1], self._corner(prompt))
        run = lambda block, x, prefix, key: block(x, mask, prefix, key)

        def watch(block, x, prefix):
            return block.attention.weights(block.attention_norm(x), mask, prefix).mean((0, 1))

        return run_blocks(self.cfg, self.blocks, x, prompt, run, watch=watch)[1]

    def __call__(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        """Logits of the next token at all positions, [B, S, V] float32.

        Arguments and S as in `hidden`. The prompt's and the label's positions come first.
        """
        return self._logits(self.hidden(codes, prompt, class_ids, key))

    def code_logits(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Logits that predict every one of codes [B, L'], [B, L', V] float32.

        Those of code i depend only on codes before i: codes 7 5 9 behind a label c are predicted
        from c, from c 7, and from c 7 5; the 9 is not read. Arguments as in `hidden`.
        """
        x = self.hidden(codes[:, :-1], prompt, class_ids, key, pin)
        return self._logits(x[:, -codes.shape[1] :])

    # Step by step, for decoding: the same numbers as from the whole sequence.

    def start(
        self,
        codes: Array,
        prompt: Prompt | None = None,
        class_ids: Array | None = None,
        length: int | None = None,
        pin: Pin = as_it_is,
        room: int = 0,
    ) -> tuple[Array, Memory]:
        """Reads what stands in front and the first n codes of an image.

        Args:
          codes: [B, n] int, n may be 0; length: how many codes there will be, by default L; room:
            how many codes behind these `extend` may read; the others as in `hidden`.

        Returns:
          (logits of code n, [B, V] float32; what `advance` continues from).

        Raises:
          ValueError: as in `hidden`; more codes than positions; some of the tokens that all see
            each other (unmasked) are missing.
        """
        cfg = self.cfg
        length, position = length or cfg.length, self._position(prompt, class_ids)
        self._check_positions(length - 1, position)
        x = self._inputs(codes, prompt, class_ids)  # [B, S, D]
        prefix = 0 if prompt is None or prompt.prefix is None else prompt.prefix.shape[3]
        front, corner = x.shape[1] - codes.shape[1], self._corner(prompt)
        if corner > x.shape[1]:
            raise ValueError(
                f"the first {corner} tokens see each other, but only {x.shape[1]} are given; give "
                "them all at once"
            )
        memory = Memory(
            cache=Cache.empty(
                cfg.layers,
                len(codes),
                cfg.heads,
                prefix + front + length - 1 + room,
                cfg.width // cfg.heads,
                jnp.dtype(cfg.dtype),
            ),
            slot=prefix + front,
            position=position,
            corner=prefix + corner,
        )
        x, memory = self._extend(memory, x, prefix, prompt, pin)
        return self._logits(x[:, -1:])[:, 0], memory

    def advance(
        self, memory: Memory, code: Array, index: Array, pin: Pin = as_it_is
    ) -> tuple[Array, Memory]:
        """Reads an image's code [B] number `index` and predicts the next one, [B, V] float32.

        Codes are read in order. index is below L - 1; it may be traced and is not checked.
        """
        logits, memory = self.extend(memory, code[:, None], index, pin)
        return logits[:, 0], memory

    def extend(
        self, memory: Memory, codes: Array, index: Array, pin: Pin = as_it_is
    ) -> tuple[Array, Memory]:
        """As `advance` for codes [B, T] number index, index + 1, …: [B, T, V] float32.

        index is [], or each image's own [B]. What was read at these places before is replaced.
        Codes beyond the last one, up to `room`, may be read; their logits mean nothing.
        """
        at = memory.position + jnp.asarray(index)[..., None] + jnp.arange(codes.shape[1])
        at = jnp.minimum(at, self.cfg.positions - 1)  # [T] or [B, T]
        x = (self.words[...][codes] + self.positions[...][at]).astype(self.cfg.dtype)  # [B, T, D]
        x, memory = self._extend(memory, x, memory.slot + index, None, pin)
        return self._logits(x), memory

    def renew(self, memory: Memory, prompt: Prompt, pin: Pin = as_it_is) -> Memory:
        """Puts another prompt of the same shape in front; only its own keys and values change.

        The codes so far keep what they computed from the previous prompt.
        """
        if prompt.prefix is not None:
            prefix = per_layer(prompt, self.cfg.layers, jnp.dtype(self.cfg.dtype))[1]
            return self._write_prefix(memory, prefix)
        return self._extend(memory, self._front(first_tokens(prompt)), 0, prompt, pin)[1]

    def _extend(
        self, memory: Memory, x: Array, slot: Array | int, prompt: Prompt | None, pin: Pin
    ) -> tuple[Array, Memory]:
        """Runs tokens x [B, T, D] that stand at slot, slot + 1, … through the blocks."""
        tokens, prefix = per_layer(prompt, self.cfg.layers, x.dtype)
        if prefix is not None:
            memory = self._write_prefix(memory, prefix)
        row = jnp.asarray(slot)[..., None, None] + jnp.arange(x.shape[1])[:, None]  # [B?, T, 1]
        column = jnp.arange(memory.cache.slots)
        # Slots beyond the last token hold nothing yet.
        seen = (column <= row) | (
            (jnp.maximum(column, row) < memory.corner) & (column <= row[..., -1:, :])
        )

        def layer(carry, inputs):
            x, cache = carry
            block, number, tokens = inputs
            if tokens is not None:
                x = replace_prompt(x, tokens)
            x, cache = block.extend(x, cache, number, slot, seen)
            return (pin(x), cache), None

        layers = jnp.arange(self.cfg.layers)
        carry = (pin(x), memory.cache)
        (x, cache), _ = jax.lax.scan(layer, carry, (self.blocks, layers, tokens))
        return x, memory.replace(cache=cache)

    def _write_prefix(self, memory: Memory, prefix: Array) -> Memory:
        """Puts keys and values [layers, B, 2, P, D] into the first slots."""
        heads = self.blocks.attention.heads(prefix)  # [layers, B, 2, P, N, H]
        return memory.replace(cache=memory.cache.write_front(heads[:, :, 0], heads[:, :, 1]))

    def _logits(self, x: Array) -> Array:  # [B, S, D] -> [B, S, V]
        return self.head(self.norm(x)).astype(jnp.float32)


AXES = (
    (r"words", ("words", "embed")),
    (r"positions", ("positions", "embed")),
    *BLOCK_AXES,
    (r"head/kernel", ("embed", "words")),
    (r"norm/(bias|scale)", ("embed",)),
)
KIND = Kind(
    "transformer",
    "causal",
    CausalConfig,
    CausalTransformer,
    AXES,
    decoding="autoregressive",
    project="Taming Transformers",
)

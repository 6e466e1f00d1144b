"""OFA (arXiv 2202.03052): an encoder-decoder of images and texts, with prefixes (2208.02532).

An image's grid and an instruction go into the encoder, an answer comes out of the decoder: text,
boxes as tokens, or the codes of an image. Published at github.com/OFA-Sys/OFA.

Shapes: B batch, H, W image size, L tokens of the instruction, S = cells of the image + L, T tokens
of the answer, K beams, D width, V vocabulary.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from maskgit_prompt.models.attention import check_heads
from maskgit_prompt.models.kind import Axes, Kind
from maskgit_prompt.models.layers import Pin, as_it_is, kernel_init
from maskgit_prompt.models.ofa_decoder import Decoder, Decoding
from maskgit_prompt.models.ofa_encoder import Encoder, Memory, self_keys_and_values
from maskgit_prompt.models.prefixes import Prefixes
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.models.resnet import WIDTH

Array = jax.Array

STAGES = 3  # of the residual network that images go through first
STRIDE = 2 ** (STAGES + 1)  # pixels a side of its cells


@dataclasses.dataclass(frozen=True)
class OFAConfig:
    """Sizes of an encoder-decoder; a pair is of the encoder and of the decoder.

    Attributes:
      vocabulary: V, rows of the token table, which also makes the logits.
      width: D.
      layers, heads, mlp: pairs of depth, attention heads, hidden width of the MLPs.
      stem: bottleneck blocks in each of the residual network's stages.
      stem_width: channels of its first stage's 3x3 convolutions.
      positions: most tokens of a text.
      buckets: distances of texts have 2 · buckets - 1 biases.
      side: most cells a side of an image, each of 16 pixels.
      window: a side of the image whose codes the decoder makes; no parameter depends on it.
      mean, std: of the pixels that the weights were trained on, by channel, in 0 to 1: the network
        takes (pixels / 255 - mean) / std.
      dropout: rate on embeddings and on the branches of a block, in training only.
      dtype: of activations; parameters and softmax stay float32.
      attention_implementation: as in `attention.attention`.
      remat: recompute in the backward pass what is cheap.
    """

    vocabulary: int = 59457
    width: int = 768
    layers: tuple[int, int] = (6, 6)
    heads: tuple[int, int] = (12, 12)
    mlp: tuple[int, int] = (3072, 3072)
    stem: tuple[int, ...] = (3, 4, 23)
    stem_width: int = WIDTH
    positions: int = 1024
    buckets: int = 256
    side: int = 42
    window: int = 16
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    dropout: float = 0.0
    dtype: str = "float32"
    attention_implementation: str = "auto"
    remat: bool = False

    def __post_init__(self):
        for name in ("layers", "heads", "mlp", "stem", "mean", "std"):  # in a file they are lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for heads in self.heads:
            check_heads(self.width, heads)
        if len(self.stem) != STAGES:
            raise ValueError(f"stem = {self.stem}, expected {STAGES} numbers of blocks")
        if self.window > self.side:
            raise ValueError(f"window = {self.window}, expected at most side = {self.side}")

    def adapters(self, stack: str) -> dict[str, int]:
        """Width and layers of an adapter's config for "encoder" or "decoder"."""
        return {"width": self.width, "layers": self.layers[stack == "decoder"]}


def _size(width: int, layers: tuple[int, int], heads: int, stem: tuple[int, ...]) -> OFAConfig:
    pair = lambda x: (x, x)
    return OFAConfig(width=width, layers=layers, heads=pair(heads), mlp=pair(4 * width), stem=stem)


RESNET50, RESNET101, RESNET152 = (3, 4, 6), (3, 4, 23), (3, 8, 36)  # without their last stage
# The table of OFA-Sys/OFA's README.
CONFIGS = {
    "tiny": _size(256, (4, 4), 4, RESNET50),
    "medium": _size(512, (4, 4), 8, RESNET101),
    "base": _size(768, (6, 6), 12, RESNET101),
    "large": _size(1024, (12, 12), 16, RESNET152),
    "huge": _size(1280, (24, 12), 16, RESNET152),
}


class OFA(nnx.Module):
    """Encode images and texts once; decode all at once, or step by step."""

    def __init__(self, cfg: OFAConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.words = nnx.Param(kernel_init(rngs.params(), (cfg.vocabulary, cfg.width)))
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)

    def encode(
        self,
        images: Array | None,
        ids: Array,
        prefixes: Prefixes | None = None,
        *,
        valid: Array | None = None,
        adapters: Any = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Memory:
        """What the decoder reads.

        Args:
          images: [B, H, W, 3], normalized as the backbone's were; None: texts alone.
          ids: [B, L] int, filled up with PAD behind their ends.
          prefixes: their part `encoder` stands in front of every layer's keys and values.
          valid: bool [B], which examples have an image; None: all.
          adapters: models/adapter.py's with a leading dimension of layers, or None.
          key: for dropout; None is deterministic.
          pin: called with every block's output; fixes where it lies on a mesh.

        Raises:
          ValueError: a longer text or a larger image than there are positions, or a prefix for
            another number of layers.
        """
        prefix = None if prefixes is None else prefixes.encoder
        return self.encoder(
            self.words[...], images, ids, prefix, valid=valid, adapters=adapters, key=key, pin=pin
        )[0]

    def decode(
        self,
        memory: Memory,
        ids: Array,
        prefixes: Prefixes | None = None,
        *,
        codes: Array | None = None,
        adapters: Any = None,
        key: Array | None = None,
        pin: Pin = as_it_is,
    ) -> Array:
        """Logits of the next token behind each of ids, [B, T, V] float32.

        Args:
          ids: [B, T] int, START first, filled up with PAD behind their ends.
          prefixes: their parts `decoder` and `cross`.
          codes: bool [B], which rows are image codes, with positions on a square; None: no row.
          adapters, key, pin: as in `encode`, of the decoder.

        Raises:
          ValueError: as in `encode`.
        """
        prefixes = Prefixes() if prefixes is None else prefixes
        x, _ = self.decoder.hidden(
            self.words[...], memory, ids, prefixes, codes=codes, adapters=adapters, key=key, pin=pin
        )
        return self._logits(x)

    def start(
        self,
        memory: Memory,
        length: int,
        prefixes: Prefixes | None = None,
        *,
        beams: int = 1,
        codes: Array | None = None,
    ) -> Decoding:
        """A decoder that has read nothing yet, with room for `length` tokens.

        The beams of an example are rows next to each other: row b · K + k is beam k of example b.

        Args:
          prefixes, codes: as in `decode`, for B examples.
          beams: K.

        Raises:
          ValueError: as in `decode`.
        """
        prefixes = Prefixes() if prefixes is None else prefixes
        return self.decoder.start(memory, length, prefixes, beams=beams, codes=codes)

    def step(
        self,
        memory: Memory,
        state: Decoding,
        ids: Array,
        position: Array,
        *,
        adapters: Any = None,
        pin: Pin = as_it_is,
    ) -> tuple[Array, Decoding]:
        """Reads token number `position` of every row and predicts the next one.

        Args:
          state: as `start` or the step before gives it.
          ids: [B · K] int, START at position 0.
          position: below the state's length; it may be traced and is not checked.

        Returns:
          (logits [B · K, V] float32, what the next step continues from).
        """
        x, state = self.decoder.step(
            self.words[...], memory, state, ids, position, adapters=adapters, pin=pin
        )
        return self._logits(x)[:, 0], state

    def attended(
        self,
        memory: Memory,
        ids: Array,
        prefixes: Prefixes | None = None,
        codes: Array | None = None,
    ) -> Array:
        """How much each token's last layer attends to the memory, mean of heads, [B, T, S]."""
        prefixes = Prefixes() if prefixes is None else prefixes
        return self.decoder.attended(self.words[...], memory, ids, prefixes, codes)

    def prefixes_of(self, images: Array | None, ids: Array, answer: Array) -> Prefixes:
        """Keys and values of a real example, which prefixes can start from.

        Those of the encoder and of cross-attention are of the instruction's tokens ids [B, L],
        those of the decoder are of the answer's [B, T]. A prefix has no biases of positions, so it
        does not act just as the text did.
        """
        words, length = self.words[...], ids.shape[1]
        memory, layers = self.encoder(words, images, ids, keep_layers=True)
        encoder = self_keys_and_values(self.encoder.blocks, [x[:, -length:] for x in layers[:-1]])
        _, layers = self.decoder.hidden(words, memory, answer, Prefixes(), keep_layers=True)
        decoder = self_keys_and_values(self.decoder.blocks, layers[:-1])
        cross = self.decoder.keys_and_values(memory)[:, :, :, -length:]
        return Prefixes(
            encoder=Prompt(prefix=encoder),
            decoder=Prompt(prefix=decoder),
            cross=Prompt(prefix=cross),
        )

    def _logits(self, x: Array) -> Array:  # [B, T, D] -> [B, T, V]
        words = self.words.astype(x.dtype)
        return jnp.einsum("btd,vd->btv", self.decoder.norm(x), words).astype(jnp.float32)


STACK = r"(encoder|decoder)/blocks/"
AXES: Axes = (
    (r"words", ("words", "embed")),
    (STACK + r"(attention|cross)/(query|key|value)/kernel", ("layer", "embed", "heads", "head")),
    (STACK + r"(attention|cross)/(query|key|value)/bias", ("layer", "heads", "head")),
    (STACK + r"(attention|cross)/out/kernel", ("layer", "heads", "head", "embed")),
    (STACK + r"(attention|cross)/scales", ("layer", "heads")),
    (STACK + r"mlp/up/kernel", ("layer", "embed", "mlp")),
    (STACK + r"mlp/(up/bias|norm/(bias|scale))", ("layer", "mlp")),
    (STACK + r"mlp/down/kernel", ("layer", "mlp", "embed")),
    (STACK + r"(text|image)_table", ("layer", "buckets", "heads")),
    (STACK + r".*(bias|scale)", ("layer", "embed")),
    (r"(encoder|decoder)/(cross_)?bias/(query|key)/kernel", ("embed", "heads", "head")),
    (r"(encoder|decoder)/(cross_)?bias/(query|key)/bias", ("heads", "head")),
    (r"(encoder|decoder)/positions/(text|image)", ("positions", "embed")),
    (r"encoder/types", ("types", "embed")),
    (r"encoder/stem/.*", None),
    (r"encoder/image_projection/kernel", ("inputs", "embed")),
    (r"(encoder|decoder)/.*(bias|scale)", ("embed",)),
)
KIND = Kind("multimodal", "ofa", OFAConfig, OFA, AXES, project="OFA")

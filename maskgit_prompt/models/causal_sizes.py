"""Sizes of causal transformers, and of the published ones."""

import dataclasses

from maskgit_prompt.models.attention import check_heads
from maskgit_prompt.models.prompt import PROMPT_ATTENTION


@dataclasses.dataclass(frozen=True)
class CausalConfig:
    """Sizes of a causal transformer.

    Attributes:
      codebook: V, rows of the token table: the image codes, whose rows labels share.
      classes: how many classes the backbone was trained on, at most V.
      length: L, codes per image.
      positions: rows of the position table, at least condition + L - 1: the last code is not read.
      width, layers, heads, mlp: D, depth, attention heads, hidden width of the MLPs.
      condition: tokens of the backbone's condition, which stand before the codes; a label is 1.
      start: the row that stands in front without class and prompt (the reference's sos_token).
      dropout: rate on the embedding and on both branches of a block, in training only. The
        reference has a third rate, on attention weights; this network has not.
      dtype: of activations; parameters and softmax stay float32.
      attention_implementation: as in `attention.attention`.
      remat: recompute in the backward pass what is cheap.
      unmasked: how many tokens at the start of the sequence, of any sort, all see each other.
      prompt_attention: "causal", or "both": prompt tokens see each other in both directions.
      shifted: as the reference's hook does it: prompts take positions 0 to P - 1 and the rest moves
        by P.
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
    attention_implementation: str = "auto"
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
        check_heads(self.width, self.heads)
        if self.classes > self.codebook:
            raise ValueError(f"{self.classes} classes, expected at most {self.codebook} (codebook)")
        if self.positions < self.condition + self.length - 1:
            raise ValueError(
                f"{self.positions} positions, expected at least "
                f"{self.condition + self.length - 1} for {self.length} codes"
            )


# Published models. The first takes a label. The others take `condition` codes in its place: crop
# coordinates (faces), depth (D-RIN), objects and crop (scenes); those three numbers are the
# positions minus the 256 codes of a picture.
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

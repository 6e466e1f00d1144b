"""How publications prepare images: numbers of different protocols do not compare.

Sources: KMnP/vpt (arXiv 2203.12119), OSU-MLB/ViT_PEFT_Vision (arXiv 2409.16434) and
JieShibo/PETL-ViT (FacT, arXiv 2212.03145). All three resize VTAB's images straight to the square.
"""

import dataclasses

import jax
import jax.numpy as jnp

from maskgit_prompt.errors import UsageError

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Pixels of 0 to 255 -> (x / 255 - mean) / std, by channel."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, pixels: Array) -> Array:
        return (pixels / 255.0 - jnp.float32(self.mean)) / jnp.float32(self.std)


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How images reach the encoder, and which step is reported.

    Attributes:
      about: in a line, for reports.
      fit: how an image becomes square; empty: as config.data.fit says.
      resample: the filter that resizes.
      normalization: of pixels; None: the backbone's own.
      windows: in training each image is a random window, mirrored half of the time; otherwise the
        middle one.
      best: report the best accuracy on the held-out images over all evaluations, not the last one.
        It chooses by what it reports, and is too high.
    """

    about: str
    fit: str = ""
    resample: str = "lanczos"
    normalization: Normalization | None = None
    windows: bool = False
    best: bool = False


PROTOCOLS = {
    "backbone": Protocol("normalized as the backbone's own images were; the last step counts"),
    "vpt": Protocol(
        "VPT's: resized straight, bilinear, ImageNet's mean and deviation; the last step counts",
        "resize",
        "bilinear",
        IMAGENET,
    ),
    "vpt-fgvc": Protocol(
        "VPT's for fine-grained sets: the shorter side resized to 8/7, bilinear; the middle "
        "square, in training a random one, half of them mirrored; ImageNet's mean and deviation; "
        "the last step counts",
        "inside",
        "bilinear",
        IMAGENET,
        windows=True,
    ),
    "osu": Protocol(
        "OSU's: resized straight, bicubic, not normalized; the last step counts",
        "resize",
        "bicubic",
        Normalization(),
    ),
    "fact": Protocol(
        "FacT's: resized straight, bicubic, ImageNet's mean and deviation; the best step on the "
        "held-out images counts, which is too high",
        "resize",
        "bicubic",
        IMAGENET,
        best=True,
    ),
}


def find(name: str) -> Protocol:
    """Raises UsageError for a protocol that there is not."""
    if name not in PROTOCOLS:
        raise UsageError(f"config.protocol = {name!r}, expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

"""How well a backbone's tokenizer keeps images: what is lost here, no prompt brings back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskgit_prompt.metrics.pairwise import blocks, check_images, check_same_size

# Chosen by looking at what comes out of `mini`. Its own pictures (24 dB, 0.14) and digits (30 dB,
# 0.10) keep their details. Coins (23 dB, 0.26), photographed birds (19 dB, 0.28) and icons (17 dB,
# 0.51) keep their shapes and colours. Grass and gravel (20 dB, 0.85), craters of the moon (30 dB,
# 0.78) and a brick wall (22 dB, 0.67) keep hardly more than a colour.
DETAILS = {"psnr": 22.0, "feature_distance": 0.2}
SHAPES = {"psnr": 14.0, "feature_distance": 0.65}


def measure(
    real: np.ndarray,
    reconstructed: np.ndarray,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """How far images are from their reconstructions.

    Args:
      real, reconstructed: uint8 [n, S, S, 3].
      features: of both, [n, F] each, or None where there is no network.

    Returns:
      "images", n, and "size", S. "psnr": -10 log10 of the mean squared difference of pixels in
      0..1, in dB; that of equal images is 78, as if one number in 1,000 were a grey level off.
      "feature_distance": the mean distance of an image's features to its reconstruction's, over
      that to another image's: 0 is the same, 1 as far away as any other image of the set; None for
      one image, for images without differences, and without features.

    Raises:
      UserError: another dtype or shape, no images, or two image sizes.
    """
    real = check_images("real", real)
    check_same_size(real, check_images("reconstructed", reconstructed))
    squares = [
        np.mean((a.astype(np.float64) - b) ** 2) / 255**2
        for a, b in zip(real, reconstructed, strict=True)
    ]
    error = max(float(np.mean(squares)), 1e-3 / 255**2)
    distance = None
    if features is not None and len(real) > 1:
        own, other = (np.asarray(x, np.float64) for x in features)
        apart = sum(float(np.sqrt(squared).sum()) for _, _, squared in blocks(own, own))
        apart /= len(own) * (len(own) - 1)
        if apart:
            distance = float(np.mean(np.sqrt(np.sum((own - other) ** 2, axis=1))) / apart)
    psnr = -10 * float(np.log10(error))
    counts = {"images": len(real), "size": real.shape[1]}
    return counts | {"psnr": psnr, "feature_distance": distance}


def verdict(found: Mapping[str, Any]) -> str:
    """What is kept of images: "details", "shapes" (and colours), or "little"; of `measure`."""
    for name, bounds in (("details", DETAILS), ("shapes", SHAPES)):
        distance = found["feature_distance"]
        near = distance is None or distance <= bounds["feature_distance"]
        if near and found["psnr"] >= bounds["psnr"]:
            return name
    return "little"


def in_words(backbone: str, kept: str) -> str:
    """A sentence of `verdict`: "mini keeps shapes and colours of these images, not details"."""
    return {
        "details": f"{backbone} keeps the details of these images",
        "shapes": f"{backbone} keeps shapes and colours of these images, not details",
        "little": f"{backbone} keeps little of what tells these images apart",
    }[kept]

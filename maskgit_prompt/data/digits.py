"""scikit-learn's bundled handwritten digits: 1797 real scans of 8 x 8 pixels, no download."""

import hashlib

import numpy as np
from PIL import Image

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.errors import UsageError

PREPROCESSING = "digits-1: 0..16 to 0..255, bicubic, RGB"


def digits(size: int = 32) -> ImageSet:
    """The ten digits as bright ink on black.

    Ink 0..16 becomes round(ink * 255 / 16): 0 -> 0, 4 -> 64, 8 -> 128, 16 -> 255; then the scan is
    enlarged with Pillow's bicubic filter to [size, size, 3].

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998
    (test part), as `sklearn.datasets.load_digits` ships it.

    Raises:
      UsageError: size below 1.
    """
    if size < 1:
        raise UsageError(f"image size {size}: expected at least 1 pixel")
    # Importing scikit-learn takes about a second; other data sets must not pay for it.
    from sklearn.datasets import load_digits

    bundle = load_digits()
    scans = np.round(bundle.images * (255 / 16)).astype(np.uint8)  # [n, 8, 8]
    labels = bundle.target.astype(np.int32)

    def read(indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        pixels = np.empty([len(indices), size, size, 3], np.uint8)
        for row, index in enumerate(indices):
            scan = Image.fromarray(scans[index]).resize((size, size), Image.Resampling.BICUBIC)
            pixels[row] = np.asarray(scan)[..., None]  # [S, S, 1], the same ink in R, G and B
        return pixels

    digest = hashlib.sha256(f"{PREPROCESSING}|{size}|".encode())
    digest.update(scans.tobytes())
    digest.update(labels.tobytes())
    return ImageSet(
        name="digits",
        classes=tuple(str(digit) for digit in range(10)),
        labels=labels,
        ids=tuple(f"digits/{index:04d}" for index in range(len(labels))),
        fingerprint=digest.hexdigest(),
        read=read,
    )

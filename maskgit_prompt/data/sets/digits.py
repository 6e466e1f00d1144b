"""scikit-learn's bundled handwritten digits: 1797 real scans of 8 x 8 pixels, no download."""

import hashlib

import numpy as np
from PIL import Image

from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.pixels import Preprocessing


def digits(preprocessing: Preprocessing) -> ImageSet:
    """The ten digits as bright ink on black.

    Ink 0..16 becomes round(ink * 255 / 16): 0 -> 0, 4 -> 64, 8 -> 128, 16 -> 255; then the scan is
    made [S, S, 3] as `preprocessing` says. The scans are square, so every fit makes the same pixels
    and has the same fingerprint.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998
    (test part), as `sklearn.datasets.load_digits` ships it.
    """
    # Importing scikit-learn takes about a second; other data sets must not pay for it.
    from sklearn.datasets import load_digits

    bundle = load_digits()
    scans = np.round(bundle.images * (255 / 16)).astype(np.uint8)  # [n, 8, 8]
    labels = bundle.target.astype(np.int32)
    size = preprocessing.size

    def read(indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices)
        pixels = np.empty([len(indices), size, size, 3], np.uint8)
        for row, index in enumerate(indices):
            scan = preprocessing.square(Image.fromarray(scans[index]))
            pixels[row] = np.asarray(scan)[..., None]  # [S, S, 1], the same ink in R, G and B
        return pixels

    steps = f"digits-1: 0..16 to 0..255, {preprocessing.resample}, RGB"
    gain = f"{preprocessing.gain}|" if preprocessing.gain != 1 else ""
    digest = hashlib.sha256(f"{steps}|{size}|{gain}".encode())
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

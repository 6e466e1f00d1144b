"""From many bits to eight: which value of a picture is white.

One rule for every bit depth and format. Values run from 0, black, to a full scale, white; below 0
and NaN is black, above the full scale is white.

1. The full scale is what the user says; else
2. what the format states: 4095 of 12 bits, 65535 of 16, 32767 of 16 with a sign; else, with 32
   bits and floats,
3. the same for a whole folder: the smallest of SCALES that holds nearly all pixels of most of its
   pictures. So one highlight does not make its picture black, nor one picture the others.
"""

import numpy as np
from PIL import Image

# 1, and the largest values of 8, 10, 12, 14 and 16 bits.
SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
SIXTEEN = 65535.0

_ENOUGH = 2**22  # pixels that are scaled at a time, and that tell how bright nearly all are
NEARLY = 0.99  # of a picture's pixels: the others are highlights
OVER = {1.0: 2.0}  # times the scale: values from 0 to 1 are often exposed beyond 1
_OVER = 1.1  # resizing makes edges overshoot
# Of 255: an image with nearly all pixels below is nearly black, one with nearly all pixels as near
# to white nearly white. 12 bits taken for 16 reach 16.
DARK = 20

_BITS, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2  # tags of TIFF


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than 8 bits a channel."""
    return image.mode.startswith("I") or image.mode == "F"


def is_rescaled(image: Image.Image) -> bool:
    """Whether Pillow has made 16 bits of a deep image's values already, whatever they were."""
    return image.format in ("PPM", "JPEG2000") and image.mode != "F"


def is_halved(image: Image.Image) -> bool:
    """Whether Pillow reads the upper 8 of 16 bits of each channel: it does in colour and with
    transparency, in PNG and TIFF. Known of an image that is not loaded yet."""
    return not is_deep(image) and any(";16" in str(tile[3]) for tile in image.tile[:1])


def stated_scale(image: Image.Image) -> float | None:
    """The full scale that the format of a deep image states, or None."""
    if image.mode == "F":
        return None
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS, (16,))[0]
        signed = image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
        return float(2 ** (bits - signed) - 1) if 8 < bits <= 16 else None
    return SIXTEEN if image.mode.startswith("I;16") or is_rescaled(image) else None


def value_range(values: np.ndarray) -> tuple[float, float]:
    """(what nearly all values do not exceed, the largest), of those that are finite."""
    finite = _some(values)
    if not len(finite):
        return 0.0, 0.0
    last = int(np.ceil(NEARLY * len(finite))) - 1
    brightest = max(block[np.isfinite(block)].max(initial=0) for block in _blocks(values))
    return float(np.partition(finite, last)[last]), float(brightest)


def darkest(values: np.ndarray) -> float:
    """What nearly all values are not below, of those that are finite."""
    finite = _some(values)
    if not len(finite):
        return 0.0
    first = len(finite) - int(np.ceil(NEARLY * len(finite)))
    return float(np.partition(finite, first)[first])


def _some(values: np.ndarray) -> np.ndarray:
    """Those that are finite of every k-th, enough to tell how bright nearly all are."""
    some = values.reshape(-1)[:: -(-values.size // _ENOUGH)]
    return some[np.isfinite(some)]


def lost(values: np.ndarray) -> str:
    """What a picture has that no grey level stands for, in words; empty where it has none.

    Values -1, 0, nan and 4: "25 % of its pixels are below 0 and become black; 25 % of its pixels
    are not finite: infinity becomes white, the others black".

    Raises:
      ValueError: no value is finite.
    """
    below = sum(int((block < 0).sum()) for block in _blocks(values))
    finite = sum(int(np.isfinite(block).sum()) for block in _blocks(values))
    if not finite:
        raise ValueError("no pixel has a finite value")
    share = lambda count: f"{100 * count / values.size:.3g} %"
    told = []
    if below:
        told.append(f"{share(below)} of its pixels are below 0 and become black")
    if finite < values.size:
        told.append(
            f"{share(values.size - finite)} of its pixels are not finite: "
            "infinity becomes white, the others black"
        )
    return "; ".join(told)


def found_scale(ranges: np.ndarray) -> float:
    """The full scale of pictures whose formats do not state it.

    Most of [(0.98, 0.98), (1.0, 300.0), (1.04, 1.05)] are within 1, give or take highlights: 1. Of
    [(250.0, 255.0)] it is 255. Beyond 16 bits it is the middle one of the brightest values.

    Args:
      ranges: [n, 2], `value_range` of each.
    """
    typical, brightest = np.asarray(ranges, np.float64).T
    for scale in SCALES:
        if np.mean(typical <= OVER.get(scale, _OVER) * scale) > 0.5:
            return scale
    return float(np.median(brightest))


def eight_bit(values: np.ndarray, scale: float) -> Image.Image:
    """Of 16 bits, 0, 257, 32896 and 65535 become 0, 1, 128 and 255; mode L."""
    pixels = np.empty(values.shape, np.uint8)
    for block, found in zip(_blocks(values), _blocks(pixels), strict=True):
        block = np.nan_to_num(block.astype(np.float64), nan=0.0, posinf=scale, neginf=0.0)
        found[:] = np.round(np.clip(block / scale, 0.0, 1.0) * 255.0)
    return Image.fromarray(pixels)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    """The rows, some at a time: copies of all of a large image would not fit into memory."""
    rows = max(1, _ENOUGH // values.shape[1])
    return [values[start : start + rows] for start in range(0, len(values), rows)]

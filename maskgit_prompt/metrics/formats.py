"""Numbers as text, the same on every page and in every table."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_DASH = "—"
_PERCENT = "\u202f%"

Format = Callable[[Any], str]


def number(value: Any) -> str:
    """A value as table text: 30240 is "30,240", 0.123456 "0.1235", 1234.56 "1,234.6", None "—"."""
    if value is None:
        return _DASH
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, (float, np.floating)):
        size = abs(float(value))
        if size >= 1e6 or 0 < size < 1e-3:
            text = f"{value:.3g}"
        else:
            text = f"{value:,.1f}" if size >= 1000 else f"{value:.4g}"
        return text.replace("-", "−")
    return str(value)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as text: 0.8532 is "85.3 %" (with a narrow space that does not break)."""
    return _DASH if value is None else f"{100 * value:.{digits}f}{_PERCENT}"


def small_share(value: float | None) -> str:
    """A share that may be far below a hundredth: 0.0042 is "0.42 %", 0.826 is "82.6 %"."""
    return percent(value, 2 if value and value < 0.1 else 1)


def brackets(interval: Sequence[float] | None, format: Format) -> str:
    """An interval behind its number: "[70.1, 79.2]" behind "75.0 %"; "" where there is none."""
    if interval is None:
        return ""
    return f"[{', '.join(format(end).removesuffix(_PERCENT) for end in interval)}]"


def fixed(digits: int) -> Format:
    """A format with a number of decimals, for columns to compare: fixed(3)(1.8) is "1.800"."""

    def text(value: float | None) -> str:
        return _DASH if value is None else f"{value:,.{digits}f}".replace("-", "−")

    return text


def aligned(values: Sequence[float | None]) -> Format:
    """A format with the decimals that a column needs: four digits of the largest value, two of the
    smallest, at most six decimals. 385.21 and 1.2 become "385.2" and "1.2"; 0.25 and 0.0123
    become "0.2500" and "0.0123".
    """
    sizes = [abs(float(v)) for v in values if v]
    if not sizes:
        return fixed(0)
    large, small = (math.floor(math.log10(size)) for size in (max(sizes), min(sizes)))
    return fixed(min(6, max(0, 3 - large, 1 - small)))

"""Names that people gave to files and classes: how they are compared, shown and written."""

import unicodedata

_JOINER = "\N{ZERO WIDTH JOINER}"  # inside emoji of several people


def composed(name: str) -> str:
    """The name as it is compared: an accent and its letter, which macOS stores apart, in one (NFC),
    and every kind of space as a plain one."""
    if name.isascii():
        return name
    name = unicodedata.normalize("NFC", name)
    return "".join(" " if unicodedata.category(c) == "Zs" else c for c in name)


def legible(name: str) -> str:
    r"""The name as it is shown and written, in any report and on any terminal that knows UTF-8.

    Composed; what cannot be printed, and bytes that are not UTF-8, stand as escapes: b"caf\xe9" is
    caf\xe9, a line feed is \n.
    """
    if name.isascii() and name.isprintable():
        return name
    return "".join(map(_shown, composed(name)))


def _shown(character: str) -> str:
    if character.isprintable() or character == _JOINER:
        return character
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")

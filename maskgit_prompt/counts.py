"""How many of what, in words."""


def counted(number: int, what: str) -> str:
    """1 and "image" are "1 image", 1,200 and "class" "1,200 classes"."""
    ending = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{'' if number == 1 else ending}"


def share(number: int, total: int, what: str) -> str:
    """1, 9 and "image" are "1 of 9 images"; 1, 1 and "image" "1 of 1 image"."""
    return f"{number:,} of {counted(total, what)}"

"""Names on the command line as they were typed."""

import ast
import re

# Keys that hold names, in the import job a number. ml_collections reads a tuple's values as Python:
# 1.10 would become 1.1, and None nothing.
KEYS = ("config.data.classes", "config.classes", "config.header")


def quoted(argv: list[str]) -> list[str]:
    """The flags with names in quotes: --config.data.classes=1.10 becomes …='1.10'.

    What is in quotes already, or a tuple or list, keeps its meaning; ("a", 1.10) is ("a", "1.10").
    A whole number stays one: it is written as it was typed.
    """
    found = []
    key = ""  # of a flag whose value is the next argument
    for arg in argv:
        name, equals, value = arg.partition("=")
        if key:
            found.append(_quoted(arg))
            key = ""
        elif name.lstrip("-") in KEYS and name.startswith("-"):
            found.append(f"{name}={_quoted(value)}" if equals else arg)
            key = "" if equals else name
        else:
            found.append(arg)
    return found


def _quoted(value: str) -> str:
    if re.fullmatch("0|[1-9][0-9]*", value):
        return value
    try:
        node = ast.parse(value.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return repr(value)
    if isinstance(node, ast.Tuple | ast.List) and value.strip()[0] in "([":
        return repr(tuple(_name(item, value.strip()) for item in node.elts))
    return repr(_name(node, value.strip()) if _is_text(node) else value)


def _name(node: ast.expr, text: str) -> str:
    return node.value if _is_text(node) else ast.get_source_segment(text, node) or ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)

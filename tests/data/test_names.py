"""How names are compared and shown."""

import pytest

from maskgit_prompt.data.names import composed, legible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("café", "café"),
        ("cafe\u0301", "café"),  # an accent beside its letter, as macOS stores it
        ("がく", "がく"),
        ("no\u00a0break", "no break"),
        ("caf\udce9", r"caf\xe9"),  # a byte that is not UTF-8
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egnp.exe", r"\u202egnp.exe"),  # turns the direction of what follows
        ("\ud800", r"\ud800"),
        ("<b>bold</b>", "<b>bold</b>"),  # reports escape it
        ("\N{MAN}\u200d\N{BOY}", "\N{MAN}\u200d\N{BOY}"),
    ],
)
def test_a_legible_name_can_be_printed_and_encoded(name, shown):
    assert legible(name) == shown
    assert legible(shown) == shown
    assert shown.encode()


def test_names_are_compared_by_what_they_say():
    assert composed("cafe\u0301") == composed("café") != composed("cafe")
    assert composed("big\u2003cat") == composed("big cat")
    assert composed("a\nb") == "a\nb"

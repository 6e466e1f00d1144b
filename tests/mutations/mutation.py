"""What a wrong change is."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One wrong change.

    Attributes:
      name: what is wrong then.
      file: where, from the repository's root.
      old, new: a piece of text that stands there once, and what takes its place.
      tests: files or test ids, some of which then fail; none of them slow.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def in_file(
    file: str, tests: tuple[str, ...], *changes: tuple[str, str, str]
) -> tuple[Mutation, ...]:
    """Mutations of one file that the same tests notice.

    Args:
      file: from maskgit_prompt/.
      changes: (name, old, new) each.
    """
    path = f"maskgit_prompt/{file}"
    return tuple(Mutation(name, path, old, new, tests) for name, old, new in changes)

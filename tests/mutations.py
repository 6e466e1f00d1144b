"""Wrong changes that tests have to notice, for tests/mutants.py: one line each."""

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


MUTATIONS = (
    Mutation(
        "marquee-reversed",
        "maskgit_prompt/decoding/marquee.py",
        "return (1 - weight) * here + weight * there",
        "return weight * here + (1 - weight) * there",
        ("tests/decoding/test_marquee.py",),
    ),
)

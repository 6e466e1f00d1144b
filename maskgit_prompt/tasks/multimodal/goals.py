"""What can be asked of an image: the instruction, and what an answer may be."""

import dataclasses

from maskgit_prompt.errors import UsageError

LABELS = ("yes", "no", "maybe")
TEXTS, BOXES = "texts", "boxes"


@dataclasses.dataclass(frozen=True)
class Goal:
    """One thing to ask of an image.

    Attributes:
      title: for reports.
      instruction: "{}" for each text of an example, in OFA's words.
      answers: the closed set of them; empty: any.
      listed: the closed set is what is found in the examples to tune on.
      kind: TEXTS, or BOXES of four bins.
      scored: "captions", "answers" or "boxes".
    """

    title: str
    instruction: str
    answers: tuple[str, ...] = ()
    listed: bool = False
    kind: str = TEXTS
    scored: str = "answers"

    @property
    def texts(self) -> int:
        """How many texts the instruction takes."""
        return self.instruction.count("{}")


GOALS = {
    "caption": Goal("captions", " what does the image describe?", scored="captions"),
    "question": Goal("answers to questions", " {}"),
    "point": Goal(
        "boxes of what a text means",
        ' which region does the text " {} " describe?',
        kind=BOXES,
        scored="boxes",
    ),
    "statement": Goal("judgements of statements", ' does the image describe " {} "?', LABELS),
    # A premise in words beside the image, as in the published model's training.
    "imply": Goal(
        "judgements of statements behind a premise",
        ' can image and text1 " {} " imply text2 " {} "?',
        LABELS,
    ),
    "class": Goal("classes", " what does the image describe?", listed=True),
}


def find(name: str, instruction: str = "") -> Goal:
    """The goal of this name, with another instruction if one is given.

    Raises:
      UsageError: no such goal.
    """
    if name not in GOALS:
        raise UsageError(f"config.goal = {name!r}, expected one of {', '.join(GOALS)}")
    goal = GOALS[name]
    return dataclasses.replace(goal, instruction=instruction) if instruction else goal

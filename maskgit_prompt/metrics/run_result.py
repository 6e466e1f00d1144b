"""What a main job found: results.json as a struct."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_prompt.metrics.scores import PROMPT, SCORES, Names, Scores, expand, find

INTERVALS = "intervals"  # the key of results.json and of rows of several runs


@dataclasses.dataclass(frozen=True)
class RunData:
    """The images of a run.

    Attributes:
      name, classes: of the data set.
      images: how many in the splits tune, judge, test and reference.
      reference: what distances are measured to.
      generated: how many images were scored.
      shown: how many classes contact sheets show.
      found: what else was found where they were looked for, a line each: sizes, what was left out.
    """

    name: str = ""
    classes: Sequence[str] = ()
    images: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reference: str = "held-out real images"
    generated: int | None = None
    shown: int | None = None
    found: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run found; None where it was not measured.

    Attributes:
      scores: origin of images ("real", "reconstructed", "prompt", "untuned") -> their scores.
      tune_loss, test_loss: on images tuned on and on held-out ones, in nats per hidden code.
      trainable, frozen: numbers of parameters.
      steps: of the state that was scored.
      seconds: by stage. seconds_per_image: to decode an image's codes.
      encoded, encoded_per_second: images whose codes there are, and how fast this start made them.
      marquee: rows of "cutoff", "diversity", "distance_to_instance" and "accuracy".
      prompts: what the tuned prompts have learned, see tasks/generation/prompt_analysis.py.
      backbone, transformer: the backbone's name, and "masked" or "causal".
      reconstruction: how well the backbone keeps the images, see reconstruction.py.
      prompt_name, prompt_bytes: of the prompt file.
    """

    scores: Mapping[str, Scores] = dataclasses.field(default_factory=dict)
    tune_loss: float | None = None
    test_loss: float | None = None
    trainable: int | None = None
    frozen: int | None = None
    steps: int | None = None
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds_per_image: float | None = None
    encoded: int | None = None
    encoded_per_second: float | None = None
    marquee: Sequence[Mapping[str, Any]] = ()
    prompts: Mapping[str, Any] | None = None
    backbone: str = ""
    transformer: str = ""
    data: RunData = RunData()
    reconstruction: Mapping[str, Any] | None = None
    prompt_name: str = ""
    prompt_bytes: int | None = None
    warnings: Sequence[str] = ()
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """The trained share of all parameters."""
        if self.trainable is None or self.frozen is None:
            return None
        return self.trainable / (self.trainable + self.frozen)

    def value(self, name: str, origin: str = PROMPT) -> Any:
        """The number that a row's key names, as "kid", "untuned_kid", "share".

        origin: whose images' scores those are that name none.
        """
        score, named = find(name)
        if score.read is not None:
            return score.read(self)
        scores = self.scores.get(named or origin)
        return None if scores is None else scores.value(score)

    def interval(self, name: str, origin: str = PROMPT) -> tuple[float, float] | None:
        """The 95 % interval of `value`, where it is known."""
        score, named = find(name)
        scores = self.scores.get(named or origin)
        return None if score.read is not None or scores is None else scores.interval(score)

    def row(self, names: Names, origin: str = PROMPT) -> dict[str, Any]:
        """Numbers by name, for a table of several runs; `...` as in `scores.expand`.

        "intervals" holds those that are known, by the same names.
        """
        row = {name: self.value(name, origin) for name in expand(names)}
        known = {name: found for name in row if (found := self.interval(name, origin))}
        return row | {INTERVALS: known} if known else row

    def to_json(self) -> dict[str, Any]:
        """results.json."""
        return self._by_origin("found") | {
            INTERVALS: self._by_origin("intervals"),
            "counts": self._by_origin("counts"),
            "reconstruction": self.reconstruction,
            "loss": {"train": self.tune_loss, "heldout": self.test_loss},
            "marquee": list(self.marquee),
            "prompts": self.prompts,
            "parameters": {
                "trainable": self.trainable,
                "frozen": self.frozen,
                "share": self.share,
            },
            "steps": self.steps,
            "seconds": dict(self.seconds),
            "seconds_per_image": self.seconds_per_image,
            "encoding": {"images": self.encoded, "images_per_second": self.encoded_per_second},
            "model": {"name": self.backbone, "transformer": self.transformer},
            "data": vars(self.data)
            | {"classes": list(self.data.classes), "found": list(self.data.found)},
            "prompt_file": {"name": self.prompt_name, "bytes": self.prompt_bytes},
            "warnings": list(self.warnings),
            "config": dict(self.config),
        }

    def _by_origin(self, part: str) -> dict[str, Any]:
        """A part of Scores by key and origin; of what is measured on the prompt's alone, by key."""
        parts = {origin: getattr(scores, part) for origin, scores in self.scores.items()}
        return {
            key: parts[PROMPT].get(key)
            if alone
            else {origin: found[key] for origin, found in parts.items() if key in found}
            for key, alone in _measured().items()
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RunResult":
        """What results.json holds; a file of an earlier version may lack some of it."""
        parts = {"found": found}
        parts |= {name: found.get(name) or {} for name in (INTERVALS, "counts")}
        scores: dict[str, dict[str, dict[str, Any]]] = {}
        for part, values in parts.items():
            for key, alone in _measured().items():
                by_origin = {PROMPT: values[key]} if alone and key in values else values.get(key)
                for origin, value in (by_origin or {}).items():
                    of_origin = scores.setdefault(origin, {"found": {}})
                    if part == "found" or value is not None:
                        of_origin.setdefault(part, {})[key] = value
        group = lambda name: found.get(name) or {}
        data = group("data")
        return cls(
            scores={origin: Scores(**parts) for origin, parts in scores.items()},
            reconstruction=found.get("reconstruction"),
            tune_loss=group("loss").get("train"),
            test_loss=group("loss").get("heldout"),
            trainable=group("parameters").get("trainable"),
            frozen=group("parameters").get("frozen"),
            steps=found.get("steps"),
            seconds=group("seconds"),
            seconds_per_image=found.get("seconds_per_image"),
            encoded=group("encoding").get("images"),
            encoded_per_second=group("encoding").get("images_per_second"),
            marquee=found.get("marquee") or (),
            prompts=found.get("prompts"),
            backbone=group("model").get("name", ""),
            transformer=group("model").get("transformer", ""),
            data=RunData(**data | {k: tuple(data.get(k, ())) for k in ("classes", "found")}),
            prompt_name=group("prompt_file").get("name", ""),
            prompt_bytes=group("prompt_file").get("bytes"),
            warnings=found.get("warnings") or (),
            config=group("config"),
        )


def _measured() -> dict[str, bool]:
    """Keys of results.json that hold what was measured -> of the tuned prompt's images alone."""
    return {score.key: score.alone for score in SCORES.values() if score.measure}

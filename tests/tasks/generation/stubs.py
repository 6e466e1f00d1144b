"""Stand-ins for networks, so that every score can be worked out by hand.

All images are flat, one shade each. Three rules take the place of three networks:

  tokenizer     a code is the tens of a shade, and is decoded to 10 times itself: 58 -> 5 -> 50
  features      the one feature of an image is its shade / 50
  judge         reads an image as the class of the training image with the nearest shade

The images of `data()`, "dark" (class 0) and "light" (class 1); rows of a part do not begin at 0:

  row         0   1   2   3 |  4   5 |  6   7   8 |  9  10  11  12
  part        test          | judge  | tune       | reference
  shade      12  33  58  91 | 15  95 | 25  47  73 |  0   0  50  50
  class       0   0   0   1 |  0   1 |  0   0   1 |  0   0   1   1
  decoded    10  30  50  90 |        | 20  40  70 |

Half way between the judge's two shades is 55: it takes row 2 for light, but its reconstruction for
dark.
"""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults as configs
from maskgit_prompt.data.codes import Codes, CodesFile
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.metrics import measures
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation import images, score
from maskgit_prompt.tasks.generation.encoding import Encoded
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel
from maskgit_prompt.tasks.generation.score import Scorer
from maskgit_prompt.tuning.tune import Tuned

SIDE = 2
SHADES = {"test": (12, 33, 58, 91), "judge": (15, 95), "tune": (25, 47, 73)}
SHADES["reference"] = (0, 0, 50, 50)
LABELS = {"test": (0, 0, 0, 1), "judge": (0, 1), "tune": (0, 0, 1), "reference": (0, 0, 1, 1)}
PARTS = tuple(SHADES)


def flat(*shades: float) -> np.ndarray:
    """uint8 [n, 2, 2, 3], one shade an image."""
    return np.tile(np.array(shades, np.uint8)[:, None, None, None], (1, SIDE, SIDE, 3))


def shades(images: np.ndarray) -> list[int]:
    """What `flat` was given."""
    assert (images == images[..., :1, :1, :1]).all()
    return images[..., 0, 0, 0].tolist()


def data(classes: tuple[str, ...] = ("dark", "light"), **parts: list[tuple[int, int]]) -> Splits:
    """The images above; parts: other (shade, class) for some of them, [] for none."""
    items = {name: list(zip(SHADES[name], LABELS[name], strict=True)) for name in PARTS} | parts
    rows, pixels, labels = {}, [], []
    for name, found in items.items():
        rows[name] = np.arange(len(labels), len(labels) + len(found))
        pixels += [shade for shade, _ in found]
        labels += [label for _, label in found]
    pixels = flat(*pixels)
    images = ImageSet(
        "shades",
        classes,
        np.array(labels, np.int32),
        [f"{row}.png" for row in range(len(labels))],
        "0123",
        lambda indices: pixels[indices],
    )
    return Splits(images, rows["tune"], rows["judge"], rows["test"], rows["reference"], "old ones")


def encoded(data: Splits) -> Encoded:
    """Codes of the tuned part, in two views, the second 1 more, and of the test part in one."""
    files = []
    for rows, views in ((data.tune, 2), (data.test, 1)):
        if len(rows):
            codes = data.images.read(rows)[:, 0, 0, :1] // 10  # [n, 1]
            codes = np.stack([codes + view for view in range(views)], axis=1)  # [n, views, 1]
            file = CodesFile(pathlib.Path(), Codes([codes.astype(np.uint16)]), {}, len(rows) + 0.5)
            files.append((rows, file))
    return Encoded(tuple(files))


def decode(codes: np.ndarray) -> np.ndarray:
    """[n, 1] -> uint8 [n, 2, 2, 3]."""
    return flat(*(10 * codes[:, 0]))


def features(images: np.ndarray) -> np.ndarray:
    """[n, 1] float32."""
    return images[:, 0, 0, :1].astype(np.float32) / 50


class NearestShade:
    """The judge; one that sees features reads these instead."""

    def __init__(self, seen: np.ndarray, labels: np.ndarray, sees_features: bool):
        self._seen, self._labels, self.sees_features = seen, labels, sees_features

    @classmethod
    def fit_or_reason(cls, images, labels, features=None, names=None):
        sees = features is not None
        return cls(cls._looked_at(images, features), np.asarray(labels), sees), None

    @staticmethod
    def _looked_at(images, features) -> np.ndarray:
        return images[:, 0, 0, 0].astype(float) if features is None else features[:, 0]

    def accuracy(self, images, labels, features=None) -> float:
        assert self.sees_features == (features is not None)
        gaps = np.abs(self._looked_at(images, features)[:, None] - self._seen)  # [n, trained on]
        return float(np.mean(self._labels[gaps.argmin(axis=1)] == labels))


# Of tokenizer and transformer below: the first digits of the SHA-256 of "[vq, masked]".
FINGERPRINT = "5fede84cc8087799"


def backbone(*parts: str) -> backbones.Backbone:
    """A backbone with no network behind its parts' names."""
    tree = {"weight": np.zeros(1, np.float32)}
    found = {name: backbones.Part("masked", None, tree) for name in parts}
    identities = {"tokenizer": "vq", "transformer": "masked", "features": "small"}
    return backbones.Backbone("stub", found, identities=identities)


def config(**changes) -> ConfigDict:
    """The main job's, with keys such as score__per_class changed."""
    found = configs.transfer()
    found.score.prompts = False  # stubs have no attention to average
    found.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return found


def mesh():
    """A mesh of one device."""
    return sharding.make_mesh(1, 1, 1, jax.devices()[:1])


def plan(data: Splits, parts=("tokenizer", "transformer", "features"), **changes) -> Plan:
    """A plan for `data`; parts: those the backbone has; changes: as `config` takes them."""
    cfg = prompt_config(len(data.images.classes), len(data.tune))
    return Plan(config(**changes), backbone(*parts), mesh(), data, cfg)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the features and the judge above in the place of the real ones; a few images do."""
    monkeypatch.setattr(score, "make_features", lambda part, mesh: features)
    monkeypatch.setattr(score, "Judge", NearestShade)
    least = {"accuracy": 1, "kid": 2, "frechet": 3, "precision_recall": 4, "near_copies": 4}
    monkeypatch.setattr(measures, "LEAST", least)


def scorer(
    data: Splits, most: int = 0, seed: int = 0, parts=("features",), judge: str = "pixels"
) -> Scorer:
    """Made the way jobs make it; call `use` before."""
    settings = plan(data, parts, score__most=most, data__seed=seed, score__judge=judge)
    return score.Scorer(settings, encoded(data), decode)


# --- Prompts and images --------------------------------------------------------------------------


def prompt_config(classes: int, instances: int) -> PromptConfig:
    """One token of one number: the class's, plus the instance's if there is one."""
    return PromptConfig(
        kind="table", tokens=1, width=1, depth=1, classes=classes, instances=instances
    )


def prompt_tree(classes: list[float], instances: list[float]) -> dict[str, np.ndarray]:
    """Parameters for `prompt_config` that make the given prompts."""
    table = lambda values: np.array(values, np.float32).reshape(-1, 1, 1)
    return {
        "positions": np.zeros((1, 1), np.float32),
        "classes": table(classes),
        "instances": table(instances),
    }


@dataclasses.dataclass
class Call:
    """What `StubSampler.images` was asked for."""

    headers: np.ndarray  # [n, K], the numbers that the prompts are
    key: list[int]
    uncond: Prompt | None
    cutoff: float | None
    what: str


class StubSampler:
    """Decodes a header to one flat image.

    Its shade under one prompt p is p; under two it is p1 + (1 - cutoff) (p2 - p1): the first at
    cutoff 1, half way at cutoff 0.5. If `diverse`, every second image is lighter: by 102 under one
    prompt, by 102 (1 - cutoff) under two. The backbone's own classes all give 200.
    """

    classes = 7
    diverse = False
    made: list["StubSampler"] = []

    def __init__(self, backbone, mesh, config, dtype="float32", transformer=None, prompt=None):
        self.config, self.transformer, self.prompt = config, transformer, prompt
        self.calls: list[Call] = []
        self.own: list[int] = []
        self.seconds_per_image = None
        self.made.append(self)

    def class_prompts(self, class_ids: np.ndarray) -> Prompt:
        self.own = list(class_ids)
        return Prompt(tokens=np.full((len(class_ids), 1, 1, 1), 200.0, np.float32))

    def images(self, headers, key, *, uncond=None, cutoff=None, batch_size=None, what="sample"):
        headers = headers.tokens[..., 0, 0]  # [n, K, P = 1, D = 1] -> [n, K]
        self.calls.append(Call(headers, jax.random.key_data(key).tolist(), uncond, cutoff, what))
        self.seconds_per_image = len(self.calls) / 4
        first, last = headers[:, 0], headers[:, -1]
        rest = 1 - cutoff if headers.shape[1] == 2 else 1.0
        lighter = 102 * rest * (np.arange(len(headers)) % 2) * self.diverse
        return flat(*np.round(first + rest * (last - first) + lighter))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return decode(codes)


def use_sampler(monkeypatch: pytest.MonkeyPatch, diverse: bool = False) -> list[StubSampler]:
    """Puts StubSampler in the sampler's place; returns the list that each one made is added to."""
    monkeypatch.setattr(StubSampler, "made", [])
    monkeypatch.setattr(StubSampler, "diverse", diverse)
    monkeypatch.setattr(images, "Sampler", StubSampler)
    return StubSampler.made


def tuned(**changes) -> TunedModel:
    """A prompt of 50 for dark and 150 for light; 28, 43 and 72 for the three images tuned on.

    changes: to `run`, whose 900 frozen parameters do not include the tokenizer's 70.
    """
    values = dict(
        tree={},
        trainable=30,
        frozen=900,
        loss={"train": 2.5, "heldout": 3.5},
        steps=300,
        seconds=1.0,
        resumed=0,
        curves={"loss": ([1, 2], [4.0, 3.0])},
        last={"step": 2, "loss": 3.0},
    )
    return TunedModel(
        prompt=prompt_tree([50, 150], [28 - 50, 43 - 50, 72 - 150]),
        transformer="tuned transformer",
        frozen=970,
        run=Tuned(**values | changes),
    )

"""Stand-ins for what trains, decodes and scores: fast, and each result tells what it was made of.

Eight images of cats (class 0) and dogs (class 1). Prompts are a table of numbers:

  no condition 100; a class adds 1 (cat) or 2 (dog); instance i adds 10 (i + 1)

so that the prompt of dog and instance 2 is 132. The backbone's own classes have 200 or more.
"""

import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from maskgit_prompt import backbones
from maskgit_prompt.config import defaults
from maskgit_prompt.data.images import ImageSet
from maskgit_prompt.data.loading import Splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.generation.plan import Plan
from maskgit_prompt.tasks.generation.prompt_tuning import TunedModel
from maskgit_prompt.tuning.tune import Tuned

CLASSES = ("cat", "dog")
LABELS = np.array([0, 1, 1, 0, 1, 1, 0, 1], np.int32)
TUNE = np.array([2, 3, 4, 5])  # so that instance ids are not rows: instances are dog, cat, dog, dog
CURVES = {"evaluated_train": ([1, 7], [3.0, 1.5]), "evaluated_heldout": ([1, 7], [4.0, 2.5])}
SCORES: dict[str, dict[str, Any]] = {
    "prompt": {
        "accuracy": 0.75,
        "frechet": 12.0,
        "kid": 0.02,
        "precision_recall": {"precision": 0.6, "recall": 0.4},
        "near_copies": {
            "count": 3,
            "fraction": 0.03,
            "reason": None,
            "quantile": 0.02,
            "threshold": {"pixel": 0.08, "feature": 0.9},
            "median": {"pixel": 0.16, "feature": 1.6},
            "median_heldout": {"pixel": 0.12, "feature": 1.2},
            "copied": {"3.png": 3},
            "pairs": [
                {"generated": 5, "training": 1, "image": "3.png"}
                | {"pixel": 0.01, "feature": 0.1, "copy": True}
            ],
        },
    },
    "untuned": {
        "accuracy": 0.15,
        "frechet": 48.0,
        "kid": 0.3,
        "precision_recall": {"precision": 0.2, "recall": 0.1},
        "near_copies": {"count": 9, "fraction": 0.09},
    },
}
# Seconds that a stand-in takes; of images by what they are called.
SECONDS = {"encode": 13.0, "tune": 20.0, "sample": 3.0, "untuned": 5.0, "judge": 7.0}
SECONDS |= {"marquee": 17.0, "score": 11.0}
SECONDS_PER_IMAGE = {"sample": 0.25, "untuned": 0.5}


class Clock:
    """In place of the module `time`: it goes on when a stand-in says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def take(self, what: str) -> None:
        self.now += SECONDS[what]


def flat(pixels) -> np.ndarray:
    """uint8 images [n, 16, 16, 3] of one colour each, from [n, 3]."""
    pixels = np.asarray(pixels).astype(np.uint8)
    return np.repeat(np.repeat(pixels[:, None, None], 16, axis=1), 16, axis=2)


def colours(images: np.ndarray) -> list[list[int]]:
    """The colour of each flat image."""
    return images[:, 0, 0].tolist()


def data() -> Splits:
    """Image i is a red of 10 i; two each are held out and of the judge, all are the reference."""
    read = lambda rows: flat([(10 * row, 0, 0) for row in rows])
    names = tuple(f"{i}.png" for i in range(8))
    images = ImageSet("pets", CLASSES, LABELS, names, "fingerprint", read)
    return Splits(images, TUNE, np.array([6, 7]), np.array([0, 1]), np.arange(8))


def config(job: str = "run") -> ConfigDict:
    found = defaults.transfer()
    found.prompt.kind, found.prompt.tokens, found.prompt.embedding = "table", 1, 0
    found.prompt.factors, found.score.per_class = 1, 3
    found.score.marquee_images, found.score.marquee_cutoffs = 2, (0.4,)
    found.score.prompts = False  # stubs have no attention to average
    return defaults.compare(found) if job == "compare" else found


# Of tokenizer and transformer below: the first digits of the SHA-256 of "[vq, masked]".
FINGERPRINT = "5fede84cc8087799"


def backbone(name: str = "tiny", kind: str = "masked") -> backbones.Backbone:
    cfg = types.SimpleNamespace(width=2, layers=1, heads=1)
    parts = {
        "tokenizer": backbones.Part("vq", types.SimpleNamespace(codebook=5), {}),
        "transformer": backbones.Part(kind, cfg, {"head": {"bias": np.zeros(3, np.float32)}}),
    }
    identities = {"tokenizer": "vq", "transformer": kind, "features": "small"}
    return backbones.Backbone(name, parts, identities=identities)


def prompt_tree() -> dict[str, np.ndarray]:
    """A table's parameters; see above."""
    row = lambda value: np.full((1, 2), value, np.float32)
    return {
        "positions": row(100),
        "classes": np.stack([row(1), row(2)]),
        "instances": np.stack([row(10 * (i + 1)) for i in range(len(TUNE))]),
    }


def prompt_config() -> PromptConfig:
    return PromptConfig("table", tokens=1, width=2, classes=2, instances=len(TUNE))


def plan(config: ConfigDict) -> Plan:
    return Plan(config, backbone(), sharding.make_mesh(), data(), prompt_config())


def tuned(**changes) -> TunedModel:
    """changes: to `run`, whose 520 frozen parameters do not include the tokenizer's 50."""
    transformer = {"head": {"bias": jnp.ones(3)}}
    found = {
        "tree": {"prompt": prompt_tree(), "transformer": transformer},
        "trainable": 30,
        "frozen": 520,
        "loss": {"train": 1.5, "heldout": 2.5},
        "steps": 7,
        "seconds": 12.34,
        "resumed": 0,
        "curves": CURVES,
        "last": {"step": 7},
    }
    return TunedModel(prompt_tree(), transformer, frozen=570, run=Tuned(**(found | changes)))


class Stored:
    """Codes of the images: image i has the codes i."""

    images_per_second = 64.0

    def __len__(self):
        return 6

    def of(self, rows):
        return self.plain(rows)[:, None]

    def plain(self, rows):
        return np.repeat(np.asarray(rows, np.int32)[:, None], 4, axis=1)  # [k, 4]


class Sampler:
    """Images as (red, green, blue) = (first prompt, last prompt, 100 times the cutoff).

    made: the samplers that were made, of all.
    """

    made: list["Sampler"] = []
    clock = Clock()
    classes, causal, length = 5, False, 4

    def __init__(self, backbone, mesh, config, compute=None, transformer=None, prompt=None):
        self.transformer, self.prompt, self.config = transformer, prompt, config
        self.compute = compute
        self.seconds_per_image, self.asked = None, {}
        self.made.append(self)

    @property
    def calls_per_batch(self):
        return float(self.config.steps)

    def check_start(self, start):
        assert start is None

    def class_prompts(self, ids):
        return Prompt(tokens=np.full((len(ids), 1, 1, 2), 200.0) + np.reshape(ids, (-1, 1, 1, 1)))

    def images(self, headers, key, *, cutoff=None, what="sample", uncond=None, **_):
        self.clock.take(what.split()[0])
        self.seconds_per_image = SECONDS_PER_IMAGE.get(what, 0.75)
        headers = headers.tokens[:, :, 0, 0]  # [n, K, P = 1, D = 2] -> [n, K]
        self.asked[what] = types.SimpleNamespace(headers=headers, key=key, uncond=uncond)
        first, last = headers[:, 0], headers[:, -1]
        return flat(np.stack([first, last, np.full(len(headers), 100 * (cutoff or 0))], axis=1))

    def decode(self, codes):
        return flat([(0, 0, 10 * code) for code in codes[:, 0]])  # a blue of 10 i


class Scorer:
    """Knows untuned images by their green; keeps the labels that it was asked about."""

    def __init__(self, clock: Clock | None = None):
        self.warnings = ["Few images."]
        self.reconstruction = {"images": 2, "size": 16, "psnr": 19.5, "feature_distance": 0.35}
        self.reconstruction |= {"split": "test", "keeps": "shapes", "own": None}
        self.compared = TUNE
        self.labels: dict[str, list[int]] = {}
        self.read: list[tuple[list, list]] = []
        self._clock = clock or Clock()

    def __call__(self, images, labels):
        self._clock.take("score")
        which = "untuned" if images[..., 1].max() >= 200 else "prompt"
        self.labels[which] = labels.tolist()
        return Scores(SCORES[which])

    def of_real(self):
        shares = {"real": 0.95, "reconstructed": 0.85}
        return {name: Scores({"accuracy": share}) for name, share in shares.items()}

    def accuracy(self, images, labels):
        self.read.append((colours(images), labels.tolist()))
        return (0.7, 0.65)[len(self.read) - 1]

    def reconstruct(self, rows):
        return flat([(0, 10 * row, 0) for row in rows])  # a green of 10 i

    def before_and_after(self):
        return "test", flat([(0, 0, 0), (10, 0, 0)]), self.reconstruct(np.arange(2))


def decoding(monkeypatch: pytest.MonkeyPatch, *modules) -> list[Sampler]:
    """Puts `Sampler` into modules; returns those that are made from now on."""
    monkeypatch.setattr(Sampler, "made", [])
    monkeypatch.setattr(Sampler, "clock", Clock())
    for module in modules:
        monkeypatch.setattr(module, "Sampler", Sampler)
    return Sampler.made

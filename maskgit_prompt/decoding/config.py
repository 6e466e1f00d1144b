"""Settings of decoding, checked once when they are made."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from maskgit_prompt.decoding import guidance, orders, schedules
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError

GUIDANCE_FROM = ("prompt", "backbone")
# Kind of transformer -> how its codes may be decided.
OF_KIND = {"masked": ("plain", "entropy", "remasking"), "causal": ("plain", "jacobi")}
SAMPLERS = tuple(dict.fromkeys(sum(OF_KIND.values(), ())))
# What may change without a new compilation; all else is compiled in.
TRACED = (
    "entropy_bound",
    "remask",
    "choice_temperature",
    "temperature",
    "top_p",
    "cutoff",
    "power",
    "guidance",
    "guidance_power",
    "guidance_begin",
    "guidance_end",
)


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
    """Settings of the decoders; the keys of config.sample, with the same defaults.

    DecodeConfig(**config.sample) and DecodeConfig(steps=4, cutoff=0.5) are made and checked on the
    host. Compiled functions take one as an argument. Its numbers are then traced and not checked
    again.

    Attributes:
      sampler: "plain", or for a masked transformer "entropy" or "remasking", for a causal one
        "jacobi": see the files of these names.
      entropy_bound: of the sampler "entropy", in nats.
      remask: of the sampler "remasking": the share of decided codes that a step hides again.
      window: of the sampler "jacobi": how many codes are read by one call.
      steps, schedule, order, choice_temperature: see `parallel.decode`; masked transformers only.
      temperature, top_k, top_p: see `filters`.
      cutoff, power: see `marquee`.
      guidance: the scale s of u + s (c - u); 1: none.
      guidance_schedule, guidance_power, guidance_begin, guidance_end: see `guidance`.
      guidance_from: what gives u: the "prompt" of the dropped condition or the bare "backbone".
      batch_size: images decoded at once.

    Raises:
      UsageError: a value out of range.
    """

    sampler: str = "plain"
    entropy_bound: float = 8.0
    remask: float = 0.1
    window: int = 16
    steps: int = 12
    schedule: str = "cosine"
    order: str = "confidence"
    choice_temperature: float = 4.5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    cutoff: float = 1.0
    power: float = 1.0
    guidance: float = 1.0
    guidance_schedule: str = "constant"
    guidance_power: float = 1.0
    guidance_begin: float = 0.0
    guidance_end: float = 1.0
    guidance_from: str = "prompt"
    batch_size: int = 64

    def __post_init__(self):
        finite = lambda x: 0 <= x < math.inf
        for name, holds, expected in (
            ("sampler", self.sampler in SAMPLERS, ", ".join(SAMPLERS)),
            (
                "entropy_bound",
                finite(self.entropy_bound),
                "a number of at least 0 (0: one code per step)",
            ),
            ("remask", 0 <= self.remask <= 1, "a number from 0 to 1 (0: none)"),
            ("window", self.window >= 1, "at least 1"),
            ("schedule", schedules.is_known(self.schedule), ", ".join(schedules.NAMES)),
            (
                "guidance_schedule",
                self.guidance_schedule in guidance.SCHEDULES,
                " or ".join(guidance.SCHEDULES),
            ),
            ("steps", self.steps >= 1, "at least 1"),
            ("order", self.order in orders.NAMES, " or ".join(orders.NAMES)),
            (
                "choice_temperature",
                finite(self.choice_temperature),
                "a number of at least 0 (0: no noise)",
            ),
            (
                "temperature",
                finite(self.temperature),
                "a number of at least 0 (0: greedy, 1: as is)",
            ),
            ("top_k", self.top_k >= 0, "an integer of at least 0 (0: off)"),
            ("top_p", 0 < self.top_p <= 1, "a number above 0, at most 1 (1: off)"),
            ("cutoff", 0 < self.cutoff <= 1, "a number above 0, at most 1"),
            ("power", 0 < self.power < math.inf, "a finite number above 0"),
            ("guidance", math.isfinite(self.guidance), "a finite number (1: none)"),
            ("guidance_power", 0 < self.guidance_power < math.inf, "a finite number above 0"),
            ("guidance_begin", 0 <= self.guidance_begin <= 1, "a number from 0 to 1"),
            (
                "guidance_end",
                self.guidance_begin <= self.guidance_end <= 1,
                f"a number from guidance_begin = {self.guidance_begin:g} to 1",
            ),
            (
                "guidance_from",
                self.guidance_from in GUIDANCE_FROM,
                " or ".join(GUIDANCE_FROM),
            ),
        ):
            if not holds:
                raise _refused(name, getattr(self, name), expected)

    def check_sampler(self, kind: str) -> None:
        """Raises UsageError for a sampler of another kind of transformer: "masked" or "causal"."""
        if self.sampler not in OF_KIND[kind]:
            expected = f"{' or '.join(OF_KIND[kind])} with a {kind} transformer"
            raise _refused("sampler", self.sampler, expected)

    def check(self, codebook: int, kind: str, mesh: Mesh) -> None:
        """Raises UsageError for settings that do not fit the backbone's codebook and kind of
        transformer, or the devices."""
        sharding.check_batch(self.batch_size, 1, mesh)
        self.check_sampler(kind)
        if self.top_k > codebook:
            raise _refused("top_k", self.top_k, f"at most the codebook's {codebook} (0: off)")

    @property
    def guided(self) -> bool:
        """Whether there is guidance. Known on the host only: it decides what is compiled."""
        return self.guidance != 1.0

    def placed(self) -> "DecodeConfig":
        """The same with its numbers on the device, all float32, so that no value compiles anew."""

        def scalar(x: float | jax.Array) -> jax.Array:
            if isinstance(x, jax.Array):
                return x.astype(jnp.float32)
            return jax.device_put(np.float32(x))

        return jax.tree.map(scalar, self)


STATIC = tuple(f.name for f in dataclasses.fields(DecodeConfig) if f.name not in TRACED)


def _flatten(config: DecodeConfig) -> tuple[list, tuple]:
    values = lambda names: [getattr(config, name) for name in names]
    return values(TRACED), tuple(values(STATIC))


def _unflatten(static: tuple, traced: list) -> DecodeConfig:
    # Past __init__: the values have been checked, and inside a compiled function cannot be.
    config = object.__new__(DecodeConfig)
    for name, value in zip(STATIC + TRACED, [*static, *traced], strict=True):
        object.__setattr__(config, name, value)
    return config


jax.tree_util.register_pytree_node(DecodeConfig, _flatten, _unflatten)


def _refused(name: str, value: object, expected: str) -> UsageError:
    return UsageError(f"config.sample.{name} = {value!r}, expected {expected}")

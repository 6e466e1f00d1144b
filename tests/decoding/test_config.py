"""Settings of decoding: what is refused, once and by name, and what compiles anew."""

import dataclasses

import jax
import numpy as np
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.decoding.config import STATIC, TRACED, DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError

CODEBOOK = 5


def test_fields_and_defaults_are_those_of_config_sample():
    assert dataclasses.asdict(DecodeConfig()) == defaults.sampling().to_dict()
    assert DecodeConfig(**defaults.sampling()) == DecodeConfig()


REFUSED = [
    ("sampler", "ddim", "sampler = 'ddim', expected plain, entropy, remasking, jacobi"),
    (
        "sampler",
        "jacobi",
        "sampler = 'jacobi', expected plain or entropy or remasking with a masked transformer",
    ),
    ("entropy_bound", -1.0, r"entropy_bound = -1.0, expected a number of at least 0 \(0: one code"),
    ("entropy_bound", float("nan"), "entropy_bound = nan, expected a number"),
    ("remask", 1.5, r"remask = 1.5, expected a number from 0 to 1 \(0: none\)"),
    ("remask", -0.1, "remask = -0.1"),
    ("window", 0, "window = 0, expected at least 1"),
    ("steps", 0, "steps = 0, expected at least 1"),
    ("schedule", "cos", "schedule = 'cos', expected cosine, linear, uniform, powX"),
    ("order", "raster", "order = 'raster', expected confidence or halton"),
    (
        "choice_temperature",
        -0.5,
        r"choice_temperature = -0.5, expected a number of at least 0 \(0: no noise\)",
    ),
    ("choice_temperature", float("nan"), "choice_temperature = nan, expected a number"),
    (
        "temperature",
        -0.5,
        r"temperature = -0.5, expected a number of at least 0 \(0: greedy, 1: as is\)",
    ),
    ("temperature", float("nan"), "temperature = nan, expected a number"),
    ("top_k", -1, r"top_k = -1, expected an integer of at least 0 \(0: off\)"),
    ("top_k", 6, r"top_k = 6, expected at most the codebook's 5 \(0: off\)"),
    ("top_p", 0.0, r"top_p = 0.0, expected a number above 0, at most 1 \(1: off\)"),
    ("top_p", 1.5, r"top_p = 1.5, expected a number above 0, at most 1"),
    ("cutoff", 0.0, r"cutoff = 0.0, expected a number above 0, at most 1"),
    ("cutoff", -0.1, "cutoff = -0.1"),
    ("cutoff", 1.01, "cutoff = 1.01"),
    ("cutoff", float("nan"), "cutoff = nan"),
    ("power", 0.0, "power = 0.0, expected a finite number above 0"),
    ("power", -1.0, "power = -1.0"),
    ("guidance", float("nan"), r"guidance = nan, expected a finite number \(1: none\)"),
    (
        "guidance_schedule",
        "step",
        "guidance_schedule = 'step', expected constant or linear or cosine",
    ),
    ("guidance_power", 0.0, "guidance_power = 0.0, expected a finite number above 0"),
    ("guidance_begin", -0.1, "guidance_begin = -0.1, expected a number from 0 to 1"),
    ("guidance_end", 1.1, "guidance_end = 1.1, expected a number from guidance_begin = 0 to 1"),
    ("guidance_from", "air", "guidance_from = 'air', expected prompt or backbone"),
    ("batch_size", 0, "batch size 0 does not divide into 1 micro-batches over 8 devices"),
    ("batch_size", 12, "batch size 12 does not divide .*; use a multiple of 8"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_value_out_of_range_is_refused_by_name(name, value, message):
    with pytest.raises(UsageError, match=message) as error:
        DecodeConfig(**{name: value}).check(CODEBOOK, "masked", sharding.make_mesh())
    assert name == "batch_size" or str(error.value).startswith(f"config.sample.{name} = ")


def test_every_field_has_a_value_that_is_refused():
    assert {name for name, _, _ in REFUSED} == {f.name for f in dataclasses.fields(DecodeConfig)}


@pytest.mark.parametrize(
    "values",
    [
        dict(steps=1, temperature=0.0, top_k=5, batch_size=8),
        dict(choice_temperature=0.0, guidance=-3.0, cutoff=0.01, power=0.1, top_p=0.01),
        dict(order="halton-rolled", schedule="pow2.5", guidance_schedule="power-cosine"),
        dict(guidance_from="backbone", guidance_power=2.75, guidance=0.0),
        dict(sampler="entropy", entropy_bound=0.0, guidance_begin=0.5, guidance_end=0.5),
        dict(sampler="remasking", remask=1.0, window=1, guidance_begin=0.0, guidance_end=0.0),
    ],
)
def test_values_at_the_edge_are_taken(values):
    config = DecodeConfig(**values)
    config.check(CODEBOOK, "masked", sharding.make_mesh())
    assert {name: getattr(config, name) for name in values} == values


def test_samplers_belong_to_a_kind_of_transformer():
    DecodeConfig(sampler="jacobi").check_sampler("causal")
    with pytest.raises(UsageError, match="'entropy', expected plain or jacobi with a causal tr"):
        DecodeConfig(sampler="entropy").check_sampler("causal")
    with pytest.raises(UsageError, match="expected plain or entropy or remasking with a masked"):
        DecodeConfig(sampler="jacobi").check_sampler("masked")


def test_an_interval_that_ends_before_it_begins_is_refused():
    with pytest.raises(UsageError, match="guidance_end = 0.4, expected .* guidance_begin = 0.5 to"):
        DecodeConfig(guidance_begin=0.5, guidance_end=0.4)


def test_a_changed_value_is_checked_again():
    with pytest.raises(UsageError, match="config.sample.cutoff = 2.0"):
        dataclasses.replace(DecodeConfig(), cutoff=2.0)


def test_only_a_scale_of_1_is_no_guidance():
    assert [DecodeConfig(guidance=x).guided for x in (1.0, 1, 0.0, 1.5, -1.0)] == [
        False,
        False,
        True,
        True,
        True,
    ]


OTHER = DecodeConfig(
    sampler="remasking",
    entropy_bound=2.5,
    remask=0.3,
    window=4,
    guidance_begin=0.25,
    guidance_end=0.75,
    steps=3,
    schedule="linear",
    order="halton",
    choice_temperature=1.5,
    temperature=0.6,
    top_k=4,
    top_p=0.7,
    cutoff=0.5,
    power=2.0,
    guidance=3.0,
    guidance_schedule="cosine",
    guidance_power=4.0,
    guidance_from="backbone",
    batch_size=2,
)


def test_inside_a_compiled_function_every_setting_has_its_name():
    seen = {}

    @jax.jit
    def f(config):
        seen.update({name: getattr(config, name) for name in STATIC})
        return {name: getattr(config, name) for name in TRACED}

    found = f(OTHER.placed())
    expected = dataclasses.asdict(OTHER)
    assert seen == {name: expected[name] for name in STATIC}
    for name in TRACED:
        assert found[name].dtype == np.float32 and found[name] == np.float32(expected[name])
    assert len(STATIC + TRACED) == len(expected)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(DecodeConfig)])
def test_numbers_change_without_compiling_anew_and_plans_do_not(name):
    traces = []

    @jax.jit
    def f(config):
        traces.append(config)

    f(DecodeConfig().placed())
    f(dataclasses.replace(DecodeConfig(), **{name: getattr(OTHER, name)}).placed())
    assert len(traces) == (2 if name in STATIC else 1)


def test_integers_and_arrays_compile_as_floats_do():
    traces = []

    @jax.jit
    def f(config):
        traces.append(config)
        return config.temperature

    for value in (1.0, 1, np.float32(1), np.float64(1), jax.numpy.float32(1), jax.numpy.int32(1)):
        assert f(DecodeConfig(temperature=value).placed()) == 1.0
    assert len(traces) == 1

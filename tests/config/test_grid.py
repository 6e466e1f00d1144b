"""Grids of ways to decode: each with each, what would be the same once, what is refused."""

import dataclasses

import pytest

from maskgit_prompt.config import grid
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError

OWN = dataclasses.asdict(DecodeConfig())


def expand(transformer="masked", own=OWN, **values):
    return [grid.in_words(changes) for changes in grid.expand(values, own, transformer)]


def test_the_runs_own_setting_is_the_first_and_comes_once():
    assert expand(guidance=(1.0, 2.0), steps=(12, 32)) == [
        "own",
        "guidance=2.0",
        "steps=32",
        "steps=32,guidance=2.0",
    ]
    # Of a run with 32 steps the change is to 12.
    assert expand(own=OWN | {"steps": 32}, steps=(12, 32)) == ["own", "steps=12"]


def test_settings_that_differ_without_effect_are_tried_once():
    # Only confidence has a choice temperature, only guidance a beginning.
    assert expand(order=("confidence", "halton"), choice_temperature=(4.5, 2.0)) == [
        "own",
        "choice_temperature=2.0",
        "order=halton",
    ]
    assert expand(guidance=(1.0, 2.0), guidance_begin=(0.5,)) == [
        "own",
        "guidance=2.0,guidance_begin=0.5",
    ]


def test_a_sampler_that_counts_its_own_steps_is_tried_once_for_all_numbers_of_steps():
    assert expand(sampler=("plain", "entropy"), steps=(12, 32), entropy_bound=(4.0,)) == [
        "own",
        "steps=32",
        "sampler=entropy,entropy_bound=4.0",
    ]


def test_grids_of_their_own():
    masked = expand()
    assert len(masked) == 30 and "sampler=remasking,steps=32,order=halton,guidance=1.5" in masked
    assert sum("sampler=entropy" in name for name in masked) == 6
    causal = expand("causal")
    assert len(causal) == 18 and "temperature=0.8,top_p=0.95,guidance=2.0" in causal


def test_empty_values_are_as_in_the_run():
    assert expand(steps=(), order=("halton",)) == ["own", "order=halton"]


@pytest.mark.parametrize(
    ("transformer", "values", "message"),
    [
        ("causal", dict(steps=(8,)), "config.grid.steps = (8,) has no use with a causal transf"),
        ("causal", dict(sampler=("entropy",)), "sampler = ('entropy',) has no use with a causal"),
        ("masked", dict(window=(8,)), "config.grid.window = (8,) has no use with config.sample.sa"),
        ("masked", dict(guidance_end=(0.5,)), "has no use with config.sample.guidance = 1.0"),
    ],
)
def test_a_key_that_no_setting_uses_is_refused(transformer, values, message):
    with pytest.raises(UsageError) as error:
        expand(transformer, **values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(steps=(8, 0)), "config.grid.steps = 0, expected at least 1"),
        (dict(steps=(8.5,)), "config.grid.steps has 8.5, expected a whole number, each"),
        (dict(order=("halton", 3)), "config.grid.order has 3, expected text, each"),
        (dict(guidance=(True,)), "config.grid.guidance has True, expected a number, each"),
        (dict(order=("raster",)), "config.grid.order = 'raster', expected confidence or"),
    ],
)
def test_a_value_that_its_key_could_not_have_is_refused(values, message):
    with pytest.raises(UsageError) as error:
        grid.check(values)
    assert str(error.value).startswith(message)
    grid.check(dict(steps=(8,), guidance=(2, 1.5)))


def test_flags_are_those_of_the_sampling_job():
    changes = {"order": "halton", "steps": 32}
    assert grid.flags(changes) == "--config.sample.order=halton --config.sample.steps=32"
    assert grid.in_words({}) == "own" and grid.flags({}) == ""

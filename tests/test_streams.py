"""The seed of every random stream, and that images and marquees are drawn from their own."""

import numpy as np
import pytest

from maskgit_prompt.progress import Clock
from maskgit_prompt.streams import STREAMS, seed_of
from maskgit_prompt.tasks.generation import transfer
from tests.tasks.generation import stubs

OF_SEED_42 = {
    "prompt": 42,
    "train": 43,
    "generate": 44,
    "marquee": 45,
    "scratch": 46,
    "evaluate": 47,
    "discriminator": 48,
    "cells": 49,
    "look": 50,
    "more": 42,
    "classes": 42,
}


def test_seeds_in_digits():
    assert {stream: seed_of(42, stream) for stream in STREAMS} == OF_SEED_42


def test_a_stream_that_is_not_known_is_an_error():
    with pytest.raises(KeyError, match="tune"):
        seed_of(42, "tune")


def test_images_and_marquees_are_drawn_from_their_own_streams(monkeypatch, tmp_path):
    stubs.use(monkeypatch)
    made, data = stubs.use_sampler(monkeypatch), stubs.data()
    monkeypatch.setattr(transfer, "encode", lambda plan, home: stubs.encoded(data))
    monkeypatch.setattr(transfer, "tune_prompt", lambda plan, codes, home: stubs.tuned())
    changes = {"score__marquee_images": 2, "score__marquee_cutoffs": (0.5,)}
    plan = stubs.plan(data, seed=42, score__per_class=2, **changes)
    transfer.carry_out(plan, tmp_path, Clock())
    # The last word of a key is its seed.
    assert {call.what: call.key[-1] for sampler in made for call in sampler.calls} == {
        "sample": 44,
        "untuned": 44,
        "marquee 0": 45,
        "marquee 0.5": 45,
    }
    _, untuned = made
    assert untuned.own == np.random.default_rng(42).integers(7, size=4).tolist()

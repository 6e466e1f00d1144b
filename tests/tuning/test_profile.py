"""A trace of the steps that config.profile names."""

import logging
import pathlib

import pytest

from maskgit_prompt.errors import Stopped, UsageError
from maskgit_prompt.tuning import profile
from maskgit_prompt.tuning.profile import Profile
from tests import training
from tests.tuning.stopping import stop_at


@pytest.fixture
def traced(monkeypatch) -> list[str]:
    """What the profiler was told, among "step INDEX" of the loop."""
    told: list[str] = []
    monkeypatch.setattr(profile.jax.profiler, "start_trace", lambda folder: told.append("start"))
    monkeypatch.setattr(profile.jax.profiler, "stop_trace", lambda: told.append("stop"))
    return told


def run(told: list[str], folder: pathlib.Path, text: str, resumed: int = 0, **options) -> None:
    def batch(index: int):
        told.append(f"step {index}")
        return training.batch(index)

    found = profile.parse(text, training.STEPS, resumed, folder / "profile")
    training.run(folder, training.mesh(), batch=batch, profile=found, **options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 1 2 3 4 5"),
        ("2:3", "0 1 start 2 3 4 stop 5"),
        ("0:1", "start 0 stop 1 2 3 4 5"),
        ("4:2", "0 1 2 3 start 4 5 stop"),
    ],
)
def test_the_steps_that_are_traced(tmp_path, traced, text, expected):
    run(traced, tmp_path, text)
    assert " ".join(traced).replace("step ", "") == expected


def test_a_run_that_stops_ends_its_trace(tmp_path, traced, caplog):
    with pytest.raises(Stopped):
        run(traced, tmp_path, "2:3", log=stop_at(3))
    assert traced[-3:] == ["start", "step 2", "stop"]
    traced.clear()
    with caplog.at_level(logging.WARNING):
        run(traced, tmp_path, "2:3", resumed=3)
    assert " ".join(traced).replace("step ", "") == "start 3 4 stop 5"
    assert "config.profile = 2:3: the run is at step 3; 2 traced" in caplog.text


def test_a_trace_is_written(tmp_path):
    with Profile(1, 2, tmp_path / "profile") as found:
        training.run(tmp_path, training.mesh(), profile=found)
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000


@pytest.mark.parametrize("text", ["20", "20:", ":5", "20:0", "a:5", "-1:5", "1:2:3"])
def test_forms_that_are_refused(tmp_path, text):
    with pytest.raises(UsageError) as error:
        profile.parse(text, 100, 0, tmp_path)
    assert str(error.value) == (
        f"config.profile = {text!r}, expected START:STEPS such as 20:5, the five steps that follow "
        "step 20, or nothing"
    )


def test_steps_that_the_run_does_not_have(tmp_path):
    profile.parse("95:5", 100, 0, tmp_path)
    with pytest.raises(
        UsageError, match="'96:5' goes to step 101, the run has 100; expected START"
    ):
        profile.parse("96:5", 100, 0, tmp_path)


def test_a_folder_that_cannot_be(tmp_path, traced):
    (tmp_path / "profile").write_text("")
    with pytest.raises(
        Exception, match="cannot write .*profile: File exists; choose another folder"
    ):
        run(traced, tmp_path, "1:1")
    assert "start" not in traced

"""The progress line in a log file and on a terminal."""

import contextlib
import io
import sys

import pytest

from maskgit_prompt import progress as progress_lib
from maskgit_prompt.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_at_start_and_end(capsys):
    with progress(4, "encode", "image") as bar:
        for loss in (4.0, 3.0, 2.0, 1.82512):
            bar.update(1, {"loss": loss})
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and "\r" not in err
    assert len(lines) == 2
    assert lines[0].startswith("encode:   0% 0/4 [00:00<?")
    assert lines[1].startswith("encode: 100% 4/4 [00:00<00:00")
    assert lines[1].endswith("image/s, loss=1.825]")


def test_a_log_gets_a_line_each_interval(capsys, monkeypatch):
    monkeypatch.setattr(progress_lib, "LOG_EVERY_SECONDS", 0.0)
    with progress(3, "train") as bar:
        for _ in range(3):
            bar.update()
    counts = [line.split("% ")[1].split(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert counts == ["0/3", "1/3", "2/3", "3/3", "3/3"]


def test_nothing_is_shown_within_the_delay(capsys):
    with progress(2, "scan", delay=5.0) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


def test_a_terminal_line_redraws_itself(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(2, "train", "step", initial=1) as bar:
        bar.update(1, {"note": "best"})
    shown = terminal.getvalue()
    assert "train:  50%" in shown and "1/2" in shown
    assert shown.split("\r")[-1].endswith("note=best]\n")


def test_the_line_ends_when_the_loop_fails(capsys):
    with pytest.raises(KeyError), progress(2, "train") as bar:
        bar.update()
        raise KeyError("x")
    assert capsys.readouterr().err.splitlines()[-1].startswith("train:  50% 1/2")


def test_pace_leaves_out_the_first_step_and_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_lib.time, "perf_counter", lambda: now[0])
    pace = progress_lib.Pace()

    def spend(seconds: float) -> None:
        now[0] += seconds

    spend(90)  # compiling
    pace.step()
    assert pace.rates(8) == {}
    for seconds in (1, 2):
        spend(seconds)
        pace.step()
    with pace.paused():
        spend(50)
    assert pace.rates(8) == {"step_seconds": 1.5, "images_per_second": 16 / 3}
    spend(4)
    pace.step()
    assert pace.rates(8) == {"step_seconds": 4, "images_per_second": 2}
    assert pace.rates(8) == {}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5_640_000_000, "5.6 GB"),
    ],
)
def test_sizes_in_words(count, text):
    assert progress_lib.size_text(count) == text


def test_bytes_that_were_done_before_count(monkeypatch):
    asked, counted = [], []

    class Bar:
        update = counted.append

    @contextlib.contextmanager
    def recorded(*args, **_):
        asked.append(args)
        yield Bar

    monkeypatch.setattr(progress_lib, "progress", recorded)
    with progress_lib.bytes_progress(10 * 2**20, "fetch", 2**20 + 5) as update:
        update(2**20 - 5)
        update(2**20)
    assert asked == [(10, "fetch", "MiB", 1)] and counted == [1, 1]

"""The process that starts again with huge pages: when, how, and that it does so once."""

import os
import shlex
import subprocess
import sys

import pytest

from maskgit_prompt.devices import pages

MADVISE = "always [madvise] never\n"


@pytest.fixture
def started(monkeypatch, tmp_path) -> list:
    """What would be started, on a machine of glibc 2.39 that gives huge pages on request."""
    calls = []
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.39")
    monkeypatch.setattr(pages, "ENABLED", tmp_path / "enabled")
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "maskgit_prompt.main", "--config=x"])
    # A dict of our own, that nothing of this process is changed.
    monkeypatch.setattr(os, "environ", {"HOME": "/"})
    (tmp_path / "enabled").write_text(MADVISE)
    return calls


def test_it_starts_the_same_command_with_the_tunable(started):
    pages.start_again()
    assert started == [
        (sys.executable, [sys.executable, "-m", "maskgit_prompt.main", "--config=x"])
    ]
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    pages.start_again()
    assert len(started) == 1


def test_a_refusal_to_start_again_goes_on_without(started, monkeypatch):
    def refuse(*call):
        raise PermissionError(13, "denied")

    monkeypatch.setattr(os, "execv", refuse)
    pages.start_again()
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setattr(os, "execv", lambda *call: started.append(call))
    os.environ.pop("GLIBC_TUNABLES")
    pages.start_again()
    assert started == []


def test_other_tunables_stay(started):
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.check=1"
    pages.start_again()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"


def test_a_tunable_that_the_user_has_set_stays(started):
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=0"
    pages.start_again()
    assert started == [] and os.environ["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


@pytest.mark.parametrize("enabled", ["[always] madvise never\n", "always madvise [never]\n"])
def test_not_where_all_or_none_have_huge_pages(started, enabled):
    pages.ENABLED.write_text(enabled)
    pages.start_again()
    assert started == []


@pytest.mark.parametrize("libc", ["glibc 2.34", "musl 1.2", "", None])
def test_not_with_another_libc(started, libc, monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    pages.start_again()
    assert started == []


def test_not_where_the_kernel_does_not_say(started):
    pages.ENABLED.unlink()
    pages.start_again()
    assert started == []


def test_the_command_ends_as_it_would_without(tmp_path):
    """A whole process: it starts again at most once, and passes its arguments and its exit code."""
    code = (
        "import sys, maskgit_prompt.main as m; m.main = lambda: print(sys.argv[1:]) or 3; m.cli()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config=a b", "é"], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("['--config=a b', 'é']\n", 3), done.stderr


def test_closed_streams_are_no_traceback():
    """Before console.settle() has seen to them."""
    code = "import sys, maskgit_prompt.main as m; m.main = lambda: 3; m.cli()"
    command = f'{shlex.quote(sys.executable)} -c "{code}" >&- 2>&-'
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 3

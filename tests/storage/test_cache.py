"""The cache: fetched once, checked from then on, by one process at a time."""

import errno
import hashlib
import json
import pathlib
import threading
import time

import pooch
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.storage import cache, download
from maskgit_prompt.storage.cache import Wanted
from tests.serving import Answer

BODY, OTHER = bytes(range(256)) * 10, bytes(reversed(range(256))) * 10
SHA, OTHERS = (hashlib.sha256(body).hexdigest() for body in (BODY, OTHER))


@pytest.fixture
def home(cache_home, monkeypatch) -> pathlib.Path:
    monkeypatch.setattr(download, "PAUSES", ())
    return cache_home


def wanted(address: str, **more) -> Wanted:
    return Wanted(address, "download it by hand", **more)


def fetch(one: Wanted, download: bool = True) -> pathlib.Path:
    return cache.fetch([one], download, "config.source = 'a'")[0]


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.ENVIRONMENT, raising=False)
    assert cache.folder() == pooch.os_cache("maskgit_prompt")
    monkeypatch.setenv("HOME", "/home/me")
    for given, found in (("~/c", "/home/me/c"), ("c", tmp_path / "c"), (" ", cache.folder())):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(cache.ENVIRONMENT, given)
        assert str(cache.folder()) == str(found)
    monkeypatch.setenv(cache.ENVIRONMENT, "gs://bucket/cache")
    with pytest.raises(UsageError, match="'gs://bucket/cache' is an address, expected a folder"):
        cache.folder()


def test_nothing_is_fetched_unless_asked(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    with pytest.raises(UsageError) as error:
        fetch(one, download=False)
    assert str(error.value) == (
        f"config.source = 'a' is not in the cache {home}, and nothing is fetched unless you ask: "
        f"add --config.download=True to fetch {one.address}, or download it by hand"
    )
    assert server.asked == [] and not home.exists()


def test_fetched_once_recorded_and_checked(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    path = fetch(one)
    assert path.read_bytes() == BODY
    assert path == home / "files" / cache.digest(one.address) / "a.bin"
    record = json.loads((path.parent / ".fetched.json").read_text())
    assert record == {"a.bin": {"address": one.address, "bytes": 2560, "sha256": SHA}}
    assert sorted(file.name for file in path.parent.iterdir()) == [".fetched.json", "a.bin"]
    assert fetch(one, download=False) == path and len(server.asked) == 1


def test_a_file_that_changed_in_the_cache_is_refused_by_name(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    path = fetch(one)
    path.write_bytes(OTHER)
    for download_too in (False, True):
        with pytest.raises(UserError) as error:
            fetch(one, download_too)
        assert str(error.value) == (
            f"{path} has changed since it was fetched: it has sha256 {OTHERS[:16]}…, expected "
            f"{SHA[:16]}…; delete it and fetch it again with --config.download=True"
        )
    path.unlink()
    assert fetch(one).read_bytes() == BODY and len(server.asked) == 2


def test_another_file_at_the_address_is_refused(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY), Answer(OTHER), Answer(OTHER), Answer(BODY)))
    path = fetch(one)
    path.unlink()
    with pytest.raises(UserError) as error:
        fetch(one)
    assert str(error.value) == (
        f"{one.address} is another file now, expected sha256 {SHA[:16]}… as at the first fetch "
        f"({path.parent}/.fetched.json): nothing was kept; if the new file is right, delete "
        f"{path.parent}"
    )
    assert [file.name for file in path.parent.iterdir()] == [".fetched.json"]
    with pytest.raises(UserError, match=f"expected sha256 {SHA[:16]}… as listed: nothing was kept"):
        fetch(wanted(one.address, home=home, sha256=SHA))
    assert fetch(one).read_bytes() == BODY


def test_a_sha256_that_is_known_before(server, home):
    address = server.put("/a.bin", Answer(BODY))
    path = fetch(wanted(address, sha256=SHA))
    with pytest.raises(UserError, match=f"it has sha256 {SHA[:16]}…, expected {OTHERS[:16]}…"):
        fetch(wanted(address, sha256=OTHERS))
    assert path.read_bytes() == BODY


def test_a_process_killed_while_the_sha256_was_checked(server, home, monkeypatch):
    one = wanted(server.put("/a.bin", Answer(BODY)))

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.core, "hash_matches", killed)
    monkeypatch.setattr(pooch.utils.os, "remove", lambda _: None)  # nor did pooch clear away
    with pytest.raises(KeyboardInterrupt):
        fetch(one)
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(cache.ENVIRONMENT, str(home))
    assert fetch(one).read_bytes() == BODY
    assert [ranged for _, ranged in server.asked] == ["", "bytes=2560-"]
    assert sorted(file.name for file in one.path.parent.iterdir()) == [".fetched.json", "a.bin"]


def test_a_process_killed_before_the_record(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    path = fetch(one)
    (path.parent / ".fetched.json").unlink()
    assert fetch(one) == path and len(server.asked) == 1
    assert json.loads((path.parent / ".fetched.json").read_text())["a.bin"]["sha256"] == SHA


def test_two_that_fetch_the_same_at_once(server, home, capsys):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    inside, go_on = threading.Event(), threading.Event()
    found = []

    def first():
        with cache.alone(one.path.parent / ".lock", "the file"):
            inside.set()
            assert go_on.wait(20)

    threads = [threading.Thread(target=first)]
    threads += [threading.Thread(target=lambda: found.append(fetch(one))) for _ in range(3)]
    threads[0].start()
    assert inside.wait(20)
    for thread in threads[1:]:
        thread.start()
    err, until = "", time.monotonic() + 20
    while err.count("waiting for it") < 3 and time.monotonic() < until:
        err += capsys.readouterr().err
    assert err.count(f"is fetching {one.address}: waiting for it") == 3 and server.asked == []
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert found == [one.path] * 3 and len(server.asked) == 1


def test_a_cache_that_cannot_be_written_is_one_line(server, tmp_path, home, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError) as error:
        fetch(wanted(server.put("/a.bin", Answer(BODY))))
    text = str(error.value)
    assert text.startswith(f"cannot write cache folder {tmp_path}/file/cache/files/")
    assert text.endswith(
        ": Not a directory; choose another folder with MASKGIT_PROMPT_CACHE=FOLDER"
    )
    assert server.asked == []


def test_a_disk_that_is_full_is_one_line(server, home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "open", full, raising=False)
    one = wanted(server.put("/a.bin", Answer(BODY)))
    with pytest.raises(UserError) as error:
        fetch(one)
    assert str(error.value) == (
        f"cannot write cache folder {one.path.parent}: No space left on device; free some space "
        "there or choose another folder with MASKGIT_PROMPT_CACHE=FOLDER"
    )


def test_what_is_there_needs_no_right_to_write(server, home, monkeypatch):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    path = fetch(one)

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "mkdir", forbidden)
    assert fetch(one, download=True) == path


def test_a_damaged_record(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY)))
    path = fetch(one)
    (path.parent / ".fetched.json").write_text("{")
    with pytest.raises(UserError, match="fetched.json is damaged .*; delete it, and the files bes"):
        fetch(one)


def test_a_login_page_leaves_nothing(server, home):
    one = wanted(server.put("/a.bin", Answer(b"<html>Sign in</html>")))
    with pytest.raises(UserError, match="a web page, expected the file itself; download it"):
        fetch(one)
    assert list(one.path.parent.iterdir()) == []


def test_what_turns_out_to_be_something_else_is_forgotten(server, home):
    one = wanted(server.put("/a.bin", Answer(BODY), Answer(OTHER)))
    fetch(one)
    cache.forget(one)
    assert fetch(one).read_bytes() == OTHER

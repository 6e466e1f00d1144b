"""Downloads from a server on loopback that breaks off, redirects, refuses and sends web pages."""

import errno
import io
import json
import socket

import numpy as np
import pytest
import requests

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import download
from maskgit_prompt.storage.download import Resuming
from tests.serving import LOGIN, Answer

BODY = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
OTHER = bytes(reversed(BODY))
BY_HAND = "download it by hand"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(download, "PAUSES", (0, 0))


def load(address: str, folder) -> bytes:
    """What a downloader that pooch calls has made."""
    Resuming(address, folder / ".a.part", BY_HAND)(address, str(folder / "a"), None)
    return (folder / "a").read_bytes()


def refusal(address: str, folder) -> str:
    with pytest.raises(UserError) as error:
        load(address, folder)
    text = str(error.value)
    assert "\n" not in text and text.endswith(BY_HAND)
    assert not (folder / "a").exists()
    return text


# --- A whole file ---------------------------------------------------------------------------------


def test_a_file_comes_whole_and_its_size_is_told_first(server, tmp_path, capsys):
    assert load(server.put("/a", Answer(BODY)), tmp_path) == BODY
    assert capsys.readouterr().out == f"fetching {server.at('/a')}: 300.0 kB\n"
    assert not (tmp_path / ".a.part").exists() and server.asked == [("/a", "")]


def test_a_redirect_is_followed(server, tmp_path):
    server.put("/there", Answer(BODY))
    assert load(server.put("/a", Answer(status=302, headers={"Location": "/there"})), tmp_path)
    assert [path for path, _ in server.asked] == ["/a", "/there"]


# --- Breaks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"', ""])
def test_breaks_are_gone_on_from(etag, server, tmp_path, capsys):
    """More of them than tries: as long as bytes come, another one follows."""
    breaks = [Answer(BODY, cut=70_000, etag=etag)] * 4
    address = server.put("/a", *breaks, Answer(BODY, etag=etag))
    assert load(address, tmp_path) == BODY
    ranges = [f"bytes={blocks * 2**16}-" for blocks in (1, 2, 3, 4)]
    assert [ranged for _, ranged in server.asked] == ["", *ranges]
    done = capsys.readouterr()
    assert "300.0 kB, going on at 65.5 kB\n" in done.out
    assert f"{address}: broke off at 65.5 kB (the connection was closed); " in done.err
    assert "next try in 0 s" in done.err


def test_the_next_process_goes_on(server, tmp_path):
    text = refusal(server.put("/a", Answer(BODY, cut=200_000), Answer(BODY, cut=0)), tmp_path)
    assert "broke off at 196.6 kB" in text and "3 times in a row; 196.6 kB are kept" in text
    server.put("/a", Answer(BODY))
    assert load(server.at("/a"), tmp_path) == BODY
    assert server.asked[-1] == ("/a", "bytes=196608-")


def test_a_part_that_is_whole_needs_no_byte_more(server, tmp_path):
    address = server.put("/a", Answer(BODY))
    load(address, tmp_path)
    (tmp_path / "a").rename(tmp_path / ".a.part")  # as of a process killed before it was checked
    assert load(address, tmp_path) == BODY
    assert server.asked[-1] == ("/a", "bytes=300000-")


MONDAY, TUESDAY = "Mon, 23 Nov 2026 05:40:12 GMT", "Tue, 24 Nov 2026 05:40:12 GMT"


@pytest.mark.parametrize(
    ("before", "after", "requests"),
    [
        (dict(etag='"one"'), dict(etag='"two"'), 2),
        (dict(etag="", modified=MONDAY), dict(etag="", modified=TUESDAY), 2),
        # Servers that do not look at If-Range: what they say of the rest tells.
        (dict(etag='W/"one"'), dict(etag='W/"two"'), 3),
        (dict(etag=""), dict(etag="", body=OTHER + b"more"), 3),
    ],
    ids=["etag", "modified", "weak", "size"],
)
def test_a_file_that_changed_in_between_is_fetched_anew(before, after, requests, server, tmp_path):
    changed = Answer(**{"body": OTHER, **after})
    assert load(server.put("/a", Answer(BODY, cut=200_000, **before), changed), tmp_path) == (
        changed.body
    )
    assert len(server.asked) == requests


def rest(first: int, size: int) -> Answer:
    """A part of the file that does not end where the file ends."""
    shown = {"Content-Range": f"bytes {first}-{first + size - 1}/{len(BODY)}"}
    return Answer(BODY[first : first + size], 206, shown, ranges=False)


def test_a_server_that_gives_less_than_the_rest(server, tmp_path):
    begun = Answer(BODY, cut=200_000)
    assert load(server.put("/a", begun, rest(196_608, 1000), Answer(BODY)), tmp_path) == BODY
    assert [ranged for _, ranged in server.asked] == ["", "bytes=196608-", "bytes=197608-"]


def test_a_server_that_gives_another_part(server, tmp_path):
    begun = Answer(BODY, cut=200_000)
    assert load(server.put("/a", begun, rest(0, 1000), Answer(BODY)), tmp_path) == BODY
    assert [ranged for _, ranged in server.asked] == ["", "bytes=196608-", ""]


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.1))
    address = server.put("/a", Answer(BODY, cut=200_000, stall=0.5), Answer(BODY))
    assert load(address, tmp_path) == BODY
    assert "broke off at 196.6 kB (nothing came in time); next try" in capsys.readouterr().err


def test_a_server_without_ranges_begins_again(server, tmp_path):
    address = server.put("/a", Answer(BODY, cut=200_000, ranges=False), Answer(BODY, ranges=False))
    assert load(address, tmp_path) == BODY


def test_a_part_without_what_it_is_part_of_goes(server, tmp_path):
    (tmp_path / ".a.part").write_bytes(OTHER[:1000])
    assert load(server.put("/a", Answer(BODY)), tmp_path) == BODY
    assert server.asked == [("/a", "")]


def test_a_busy_server_is_asked_again(server, tmp_path, capsys):
    address = server.put("/a", Answer(status=503), Answer(status=429), Answer(BODY))
    assert load(address, tmp_path) == BODY
    assert f"{address}: answers 503 Service Unavailable; next try" in capsys.readouterr().err


def test_a_server_that_stays_busy(server, tmp_path):
    text = refusal(server.put("/a", Answer(status=500)), tmp_path)
    assert "answers 500 Internal Server Error, 3 times in a row; down" in text
    assert len(server.asked) == 3


# --- What is not the file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"no", 404), "/a answers 404 Not Found: no such file; check the address, or"),
        (Answer(b"no", 403), "/a answers 403 Forbidden: it is not public; download"),
        (Answer(b"no", 418), "/a answers 418 I'm a Teapot, expected a file"),
        (
            Answer(LOGIN, headers={"Content-Type": "text/html; charset=utf-8"}),
            "/a answers with a web page, such as a login; ",
        ),
        (Answer(LOGIN), "/a starts with '<!DOCTYPE html': a web page, expected the file itself"),
        (Answer(b'{"error": "quota"}'), "/a is a text file that starts with"),
        (Answer(b"version https://git-lfs.github.com/spec/v1\n"), "a git-LFS pointer"),
        (Answer(b""), "/a is empty, expected the file itself"),
        (Answer(BODY, sized=False), "/a answers with no size, so nobody could notice a break"),
        (Answer(BODY, headers={"Content-Encoding": "br"}), "/a answers with br data, so"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_not_the_file_is_refused_in_one_line(answer, message, server, tmp_path):
    assert message in refusal(server.put("/a", answer), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_to_a_login_page_names_it(server, tmp_path):
    server.put("/login", Answer(LOGIN, headers={"Content-Type": "text/html"}))
    text = refusal(server.put("/a", Answer(status=302, headers={"Location": "/login"})), tmp_path)
    assert f"{server.at('/a')} leads to {server.at('/login')}, which answers with a web" in text


def test_a_login_page_in_place_of_the_rest(server, tmp_path):
    page = Answer(LOGIN, headers={"Content-Type": "text/html"}, ranges=False, etag="")
    assert "web page" in refusal(server.put("/a", Answer(BODY, cut=200_000), page), tmp_path)
    server.put("/a", Answer(BODY))  # what came before is kept
    assert load(server.at("/a"), tmp_path) == BODY
    assert server.asked[-1] == ("/a", "bytes=196608-")


def test_a_circle_of_redirects(server, tmp_path):
    text = refusal(server.put("/a", Answer(status=302, headers={"Location": "/a"})), tmp_path)
    assert "/a leads in a circle" in text


def test_a_redirect_to_what_cannot_be_fetched(server, tmp_path):
    address = server.put("/a", Answer(status=302, headers={"Location": "ftp://host/a"}))
    assert "cannot be fetched (No connection adapters" in refusal(address, tmp_path)


def test_a_bucket_that_is_not_public_names_gcloud(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.addresses, "BUCKETS", server.at("/"))
    server.put("/bucket/a%20b", Answer(status=401))
    url = download.addresses.url("gs://bucket/a b")
    with pytest.raises(UserError, match="gs://bucket/a b answers 401 .* `gcloud storage cp gs://b"):
        Resuming("gs://bucket/a b", tmp_path / ".a.part", BY_HAND)(url, str(tmp_path / "a"), None)


# --- No network, no room --------------------------------------------------------------------------


def test_a_machine_that_nobody_answers(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = refusal(f"http://127.0.0.1:{port}/a", tmp_path)
    assert "cannot reach 127.0.0.1 (Connection refused), is this machine offline?" in text


def test_a_name_that_cannot_be_resolved(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("NO_PROXY", "*")
    text = refusal("https://models.example/a", tmp_path)
    assert "cannot reach models.example (Temporary failure in name resolution)" in text


def test_a_certificate_that_cannot_be_trusted(tmp_path, monkeypatch):
    def untrusted(*_, **__):
        raise requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED")

    monkeypatch.setattr(requests, "get", untrusted)
    text = refusal("https://models.example/a", tmp_path)
    assert "the certificate of models.example cannot be trusted, as behind a proxy or a l" in text


def test_a_disk_without_room_is_told_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"/a needs 300.0 kB more in .*, but 1.0 kB are free there"):
        load(server.put("/a", Answer(BODY)), tmp_path)
    assert not (tmp_path / ".a.part").exists()


def test_a_disk_that_fills_up_keeps_what_is_there(server, tmp_path, monkeypatch):
    written = []

    class Full(io.FileIO):
        def write(self, block):
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(super().write(block))

    monkeypatch.setattr(download, "open", lambda path, _: Full(path, "ab"), raising=False)
    address = server.put("/a", Answer(BODY))
    with pytest.raises(OSError, match="No space left"):
        load(address, tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert load(address, tmp_path) == BODY
    assert server.asked[-1] == ("/a", f"bytes={2 * 2**16}-")


def test_what_the_server_said_is_kept_beside_the_part(server, tmp_path):
    refusal(server.put("/a", Answer(BODY, cut=100_000), Answer(BODY, cut=0)), tmp_path)
    said = json.loads((tmp_path / ".a.part.json").read_text())
    assert said == {"etag": '"one"', "modified": "", "total": 300_000}

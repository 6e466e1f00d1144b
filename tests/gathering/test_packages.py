"""Packages are fetched by their own clients, checked to the byte, and read without unpacking."""

import base64
import dataclasses
import hashlib
import os
import pathlib

import pytest

from benchmarks.gathering import packages
from benchmarks.gathering.packages import NOTO, Package, fetch, members
from maskgit_prompt.errors import UserError
from tests.gathering import making

CONTENTS = b"a package"
SHA256 = f"sha256:{hashlib.sha256(CONTENTS).hexdigest()}"
SHA512 = f"sha512-{base64.b64encode(hashlib.sha512(CONTENTS).digest()).decode()}"
PACKAGE = Package("npm", "@a/b", "1.2", SHA512, "MIT", "a-b-1.2.tgz", 1)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A client that writes these contents, and its command line into the log."""

    def install(body: str) -> pathlib.Path:
        script = tmp_path / "bin" / "npm"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "log"}\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "log"

    return install


def test_a_package_is_downloaded_once_and_kept_under_its_name(npm, tmp_path):
    log = npm("printf 'a package' > whatever-npm-calls-it.tgz")
    for _ in range(2):
        path = fetch(PACKAGE, tmp_path / "kept")
        assert path == tmp_path / "kept" / "a-b-1.2.tgz" and path.read_bytes() == CONTENTS
    assert log.read_text() == "pack --silent @a/b@1.2\n"
    assert [entry.name for entry in (tmp_path / "kept").iterdir()] == ["a-b-1.2.tgz"]


def test_a_file_that_lies_there_needs_no_client(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for digest in (SHA256, SHA512):
        (tmp_path / PACKAGE.file).write_bytes(CONTENTS)
        assert fetch(dataclasses.replace(PACKAGE, digest=digest), tmp_path).exists()


@pytest.mark.parametrize("digest", [SHA256, SHA512])
def test_another_file_is_refused(tmp_path, digest):
    (tmp_path / PACKAGE.file).write_bytes(b"b package")
    with pytest.raises(UserError, match=r"a-b-1.2.tgz has the sha\d+ .+ of @a/b 1.2: remove it"):
        fetch(dataclasses.replace(PACKAGE, digest=digest), tmp_path)


def test_what_a_client_downloads_is_checked_before_it_is_kept(npm, tmp_path):
    npm("printf 'b package' > b.tgz")
    with pytest.raises(UserError, match="expected .+ of @a/b 1.2"):
        fetch(PACKAGE, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_client_that_fails_is_quoted(npm, tmp_path):
    npm("echo 'first line' >&2; echo 'npm error 404' >&2; exit 1")
    with pytest.raises(UserError, match="npm pack .+ failed: npm error 404; .+put the file a-b-1"):
        fetch(PACKAGE, tmp_path / "kept")


def test_a_client_that_is_not_installed_has_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="npm is not installed.+put the file a-b-1.2.tgz into"):
        fetch(PACKAGE, tmp_path)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("npm", ["npm", "pack", "@a/b@1.2"]),
        ("apt", ["apt-get", "download", "@a/b=1.2"]),
        ("pip", ["-m", "pip", "download", "--no-deps", "@a/b==1.2"]),
    ],
)
def test_every_client_is_asked_for_the_version(client, words):
    command = dataclasses.replace(PACKAGE, client=client).command
    assert [word for word in command if word in words] == words


def test_members_of_every_kind_are_read(tmp_path):
    files = {"usr/a.png": b"first", "usr/b.txt": b"second"}
    (tmp_path / "a.tgz").write_bytes(making.tar(files, links={"usr/c.png": "a.png"}))
    (tmp_path / "a.deb").write_bytes(making.deb(files, links={"usr/c.png": "a.png"}))
    making.wheel(tmp_path / "a.whl", files)
    for suffix in ("tgz", "deb", "whl"):
        assert dict(members(tmp_path / f"a.{suffix}")) == files, suffix


def test_what_is_not_a_debian_package_is_told(tmp_path):
    (tmp_path / "a.deb").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="a.deb is not a Debian package"):
        list(members(tmp_path / "a.deb"))


def test_digests_are_whole():
    """A SHA-256 has 64 hexadecimal digits, a SHA-512 64 bytes in base64."""
    known = [value for value in vars(packages).values() if isinstance(value, Package)]
    assert len(known) == 7 and NOTO in known
    for package in known:
        if package.digest.startswith("sha256:"):
            assert len(bytes.fromhex(package.digest.removeprefix("sha256:"))) == 32
        else:
            assert len(base64.b64decode(package.digest.removeprefix("sha512-"))) == 64

"""Addresses: what is one, what HTTP is asked for, what a file is called in the cache."""

import pytest

from maskgit_prompt.errors import UsageError
from maskgit_prompt.storage import addresses


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://host/a", True),
        ("http://host/a", True),
        ("GS://bucket/a", True),
        ("s3://bucket/a", False),
        ("file:///a", False),
        ("https:/host", False),
        ("models/https://a", False),
        ("C:/models", False),
    ],
)
def test_what_is_an_address(text, found):
    assert addresses.is_address(text) == found


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://host/a b?c=d", "https://host/a b?c=d"),
        ("gs://bucket/a/b", "https://storage.googleapis.com/bucket/a/b"),
        ("gs://bucket/a b#1?x", "https://storage.googleapis.com/bucket/a%20b%231%3Fx"),
    ],
)
def test_what_http_is_asked_for(address, url):
    assert addresses.url(address) == url


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gs://bucket", "names a bucket but no file in it"),
        ("gs://bucket/", "names a bucket but no file in it"),
        ("gs:///a", "is not an address, expected https://HOST/FILE or gs://BUCKET/FILE"),
        ("https://", "is not an address"),
        ("https://[", "is not an address"),
        ("s3://bucket/a", "is not an address"),
    ],
)
def test_addresses_without_a_file(address, message):
    with pytest.raises(UsageError, match=message):
        addresses.url(address)


def test_buckets_by_their_own_address():
    assert addresses.bucket_address("https://storage.googleapis.com/b/c%20d") == "gs://b/c d"
    assert addresses.bucket_address("gs://b/c") == "gs://b/c"
    assert addresses.bucket_address("https://host/b/c") == ""


def test_a_password_is_not_shown():
    assert addresses.shown("https://me:secret@host:8/a?b=c") == "https://host:8/a?b=c"
    assert addresses.shown("gs://bucket/a") == "gs://bucket/a"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host/a/last.ckpt?dl=1", "last.ckpt"),
        ("https://host/a/", "a"),
        ("https://host", "file"),
        ("https://host/..", "file"),
        ("https://host/%2Fetc%2Fpasswd", "passwd"),
        ("gs://bucket/.hidden file", "hidden_file"),
        ("https://host/" + "a" * 200 + "z", "a" * 99 + "z"),
    ],
)
def test_names_of_files(address, name):
    assert addresses.file_name(address) == name

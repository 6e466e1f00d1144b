"""Addresses of files that can be fetched: https://, http://, and gs:// of public buckets."""

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from maskgit_prompt.errors import UsageError

FETCHED = re.compile(r"(https?|gs)://", re.IGNORECASE)
BUCKETS = "https://storage.googleapis.com/"  # answers for public buckets without credentials
LONGEST = 100  # letters of a file's name in the cache


def is_address(text: str) -> bool:
    """Whether `text` is an address that can be fetched, rather than a path or a name."""
    return FETCHED.match(text) is not None


def url(address: str) -> str:
    """What HTTP is asked for: "gs://bucket/a b" gives https://storage.googleapis.com/bucket/a%20b.

    Raises:
      UsageError: no host, or a bucket without an object.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:  # as https://[
        parts, host = None, ""
    if not host or not is_address(address):
        raise UsageError(
            f"{address!r} is not an address, expected https://HOST/FILE or gs://BUCKET/FILE"
        )
    if parts.scheme.lower() != "gs":
        return address
    bucket, _, name = address[len("gs://") :].partition("/")
    if not name:
        raise UsageError(f"{address!r} names a bucket but no file in it, expected gs://BUCKET/FILE")
    return f"{BUCKETS}{bucket}/{quote(name)}"


def bucket_address(address: str) -> str:
    """gs://BUCKET/FILE of an address in Google Cloud Storage; empty for all others."""
    found = url(address)
    return f"gs://{unquote(found[len(BUCKETS) :])}" if found.startswith(BUCKETS) else ""


def shown(address: str) -> str:
    """The address for messages and records: without a user name and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def file_name(address: str) -> str:
    """The name of the file in the cache: "https://host/a/last.ckpt?dl=1" gives "last.ckpt"."""
    last = unquote(urlsplit(address).path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+=-]+", "_", last).lstrip(".")[-LONGEST:] or "file"

"""A download over HTTP that goes on where it broke off.

1. Ask for the bytes that the part file lacks: Range, and If-Range so that it is the same file.
2. Refuse an answer that is not the file: an error status, a web page, a size nobody tells.
3. Tell the size, and see that the disk has room for it.
4. Append what comes. After a break wait and begin again at 1.

`.NAME.part` holds the bytes so far, `.NAME.part.json` what the server said of the file. Both stay
when the process ends, and the next one goes on with them.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import maskgit_prompt
from maskgit_prompt.errors import UserError
from maskgit_prompt.progress import bytes_progress, size_text
from maskgit_prompt.storage import addresses, sniff
from maskgit_prompt.storage.files import write_whole

TIMEOUT = (20, 60)  # seconds to connect; between two pieces of an answer
PAUSES = (1, 2, 4, 8, 16)  # seconds before another try, while no byte comes
CHUNK = 2**16  # bytes that are read at once: what a break can lose
BUSY = (408, 425, 429, 500, 502, 503, 504)  # statuses that another try may change
# Kinds of storage.sniff that no checkpoint is: a login page comes with status 200, too.
NO_WEIGHTS = ("empty", "html", "lfs", "text")


class _Broken(Exception):
    """The download ended early, for a reason that may pass."""


@dataclasses.dataclass
class Resuming:
    """A downloader of pooch's protocol.

    Attributes:
      address: as the user gave it, for messages.
      part: the file that grows.
      by_hand: the way out in messages, what to do without this download.
      refused: kinds of files (storage.sniff) that are not what was asked for.
    """

    address: str
    part: pathlib.Path
    by_hand: str
    refused: tuple[str, ...] = NO_WEIGHTS
    _reached: bool = dataclasses.field(default=False, init=False)  # the server has answered

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Downloads `url` and moves the whole file to `output_file`.

        pooch: its object for the folder, which is not used.

        Raises:
          UserError: why there is no such file. OSError: the part file cannot be written.
        """
        tries = 0
        while True:
            before = self._size()
            try:
                self._ask(url)
                break
            except _Broken as broken:
                tries = 1 if self._size() > before else tries + 1
                if tries > len(PAUSES):
                    raise UserError(self._given_up(broken)) from broken
                pause = PAUSES[tries - 1]
                print(f"{self._shown}: {broken}; next try in {pause} s", file=sys.stderr)
                time.sleep(pause)
        os.replace(self.part, output_file)

    def _given_up(self, broken: _Broken) -> str:
        kept = ""
        if size := self._size():
            kept = f"{size_text(size)} are kept and the same command goes on from there, or "
        return f"{self._shown}: {broken}, {len(PAUSES) + 1} times in a row; {kept}{self.by_hand}"

    @property
    def _shown(self) -> str:
        return addresses.shown(self.address)

    @property
    def said(self) -> pathlib.Path:
        """What the server said of the file; to be deleted once that is in its place."""
        return self.part.with_name(f"{self.part.name}.json")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    # --- 1. The question ----------------------------------------------------------------------

    def _ask(self, url: str) -> None:
        """One request, and all that comes for it.

        Raises:
          _Broken: another request may bring more. UserError: none will.
        """
        import requests

        before, have = self._before(), self._size()
        headers = {
            "User-Agent": f"maskgit_prompt/{maskgit_prompt.__version__}",
            "Accept-Encoding": "identity",  # ranges are of the bytes as they are
        }
        if have:
            headers["Range"] = f"bytes={have}-"
            if same := _strong(before.get("etag", "")) or before.get("modified"):
                headers["If-Range"] = same
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                self._reached = True
                self._take(response, before, have)
        except requests.RequestException as error:
            raise self._failed(error) from error

    def _before(self) -> dict[str, Any]:
        """What the server said of the file whose first bytes are there.

        Without it nobody knows what they are the first bytes of: then they go.
        """
        try:
            found = json.loads(self.said.read_bytes())
            if isinstance(found, dict):
                return found
        except (FileNotFoundError, ValueError):
            pass  # as after a kill between the two files
        self.part.unlink(missing_ok=True)
        return {}

    def _failed(self, error: Exception) -> Exception:
        """What an error of requests means: _Broken where another try may help."""
        import requests

        host = urlsplit(addresses.url(self.address)).hostname
        errno = re.search(r"\[Errno -?\d+\] ([^)'\"]+)", str(error))
        late = "nothing came in time" if "timed out" in str(error) else "the connection was closed"
        why = errno[1] if errno else late
        if isinstance(error, requests.exceptions.SSLError):
            return UserError(
                f"{self._shown}: the certificate of {host} cannot be trusted, as behind a proxy or "
                f"a login page; {self.by_hand}"
            )
        if isinstance(error, requests.exceptions.TooManyRedirects):
            return UserError(f"{self._shown} leads in a circle; {self.by_hand}")
        if isinstance(error, (requests.ConnectionError, requests.Timeout)) and not self._reached:
            return UserError(
                f"{self._shown}: cannot reach {host} ({why}), is this machine offline? Then "
                f"{self.by_hand}"
            )
        again = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        )
        if isinstance(error, again):
            return _Broken(f"broke off at {size_text(self._size())} ({why})")
        text = sniff.printable(error, 200)  # an address that it leads to, which none can fetch
        return UserError(f"{self._shown} cannot be fetched ({text}); {self.by_hand}")

    # --- 2. to 4. The answer ------------------------------------------------------------------

    def _take(self, response: Any, before: dict[str, Any], have: int) -> None:
        """Checks an answer, and appends it to the part file."""
        said = {
            "etag": response.headers.get("ETag", ""),
            "modified": response.headers.get("Last-Modified", ""),
            "total": _total(response),
        }
        ranged = have > 0 and response.status_code in (206, 416)
        if ranged and response.status_code == 416 and said["total"] == have:
            return  # nothing more to read
        if ranged and not _goes_on(response, said, before, have):
            self.part.unlink(missing_ok=True)
            raise _Broken("is another file than before, so what was there is dropped")
        self._check(response, said["total"])
        first = have if response.status_code == 206 else 0
        blocks = response.iter_content(CHUNK)
        if not first:
            head = next(blocks, b"")
            self._check_kind(response, head, said["total"])
            blocks = _chain(head, blocks)
            self.part.unlink(missing_ok=True)
            write_whole(self.said, json.dumps(said).encode(), any_host=True)
        self._tell(first, said["total"])
        with (
            bytes_progress(said["total"] or 0, "fetch", first) as update,
            open(self.part, "ab") as file,
        ):
            for block in blocks:
                file.write(block)
                update(len(block))
        if said["total"] and self._size() != said["total"]:
            raise _Broken(
                f"ended at {self._size():,} bytes, expected {said['total']:,} as it had announced"
            )

    def _check(self, response: Any, total: int | None) -> None:
        """Raises UserError for an answer without the file, _Broken where it may come later."""
        code = response.status_code
        at = self._shown
        if response.history:
            at += f" leads to {addresses.shown(response.url)}, which"
        said = f"{at} answers {code} {response.reason or ''}".rstrip()
        if code in BUSY:
            raise _Broken(f"answers {code} {response.reason or ''}".rstrip())
        if code in (401, 403, 407):
            bucket = addresses.bucket_address(self.address)
            account = f"fetch it with an account that may, as `gcloud storage cp {bucket} .` does, "
            raise UserError(
                f"{said}: it is not public; {account if bucket else ''}"
                f"{'or ' if bucket else ''}{self.by_hand}"
            )
        if code in (404, 410):
            raise UserError(f"{said}: no such file; check the address, or {self.by_hand}")
        if code not in (200, 206):
            raise UserError(f"{said}, expected a file; {self.by_hand}")
        if "text/html" in response.headers.get("Content-Type", ""):
            raise UserError(f"{at} answers with a web page, such as a login; {self.by_hand}")
        packed = response.headers.get("Content-Encoding", "identity")
        whole = "chunked" in response.headers.get("Transfer-Encoding", "")
        if packed != "identity" or (total is None and not whole):
            raise UserError(
                f"{at} answers with {packed + ' data' if packed != 'identity' else 'no size'}, so "
                f"nobody could notice a break; {self.by_hand}"
            )

    def _check_kind(self, response: Any, head: bytes, total: int | None) -> None:
        what = sniff.kind(head[: sniff.HEAD], total or len(head))
        if what.name in self.refused:
            to = response.url if response.history else self.address
            raise UserError(
                f"{addresses.shown(to)} {what.found}, expected the file itself; {self.by_hand}"
            )

    def _tell(self, first: int, total: int | None) -> None:
        """Prints the size before the first byte.

        Raises:
          UserError: the disk has no room for it.
        """
        size = size_text(total) if total else "of unknown size"
        begun = f", going on at {size_text(first)}" if first else ""
        print(f"fetching {self._shown}: {size}{begun}", flush=True)
        free = shutil.disk_usage(self.part.parent).free
        if total and total - first > free:
            raise UserError(
                f"{self._shown} needs {size_text(total - first)} more in {self.part.parent}, but "
                f"{size_text(free)} are free there; free some space, or choose another folder"
            )


def _strong(etag: str) -> str:
    """An ETag that names bytes; a weak one (W/"…") names only a meaning."""
    return "" if etag.startswith("W/") else etag


def _total(response: Any) -> int | None:
    """Bytes of the whole file; None where the answer does not say."""
    headers = response.headers
    ranged = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", headers.get("Content-Range", "").strip())
    if ranged:
        return int(ranged[1])
    length = headers.get("Content-Length", "")
    return int(length) if response.status_code == 200 and length.isdecimal() else None


def _goes_on(response: Any, said: dict, before: dict, have: int) -> bool:
    """Whether a partial answer begins at byte `have` of the file that was begun."""
    place = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", "").strip())
    same = all(
        said[name] == before.get(name) or not said[name] or not before.get(name) for name in said
    )
    return response.status_code == 206 and bool(place) and int(place[1]) == have and same


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest

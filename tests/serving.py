"""A server on loopback that answers as told: it breaks off, redirects, refuses, sends web pages."""

import contextlib
import dataclasses
import http.server
import re
import threading
import time
from collections.abc import Iterator

LOGIN = b"<!DOCTYPE html><html><body>Sign in to the guest network</body></html>"


@dataclasses.dataclass
class Answer:
    """What one request gets.

    Attributes:
      body: of the whole file.
      cut: bytes of the answer after which the connection is closed; None: all come.
      ranges: whether a Range header is heeded.
      sized: whether Content-Length tells the size.
      etag, modified: the headers of these names.
      stall: seconds without a byte before the connection is closed.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    sized: bool = True
    etag: str = '"one"'
    modified: str = ""
    stall: float = 0.0


class Server(http.server.ThreadingHTTPServer):
    """Answers by path; of several for one path each comes once, and the last from then on.

    Attributes:
      answers: path -> its answers.
      asked: (path, Range header or "") of every request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str]] = []

    def put(self, path: str, *answers: Answer) -> str:
        """Sets the answers for a path and gives its address."""
        self.answers[path] = list(answers)
        return self.at(path)

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        self.server.asked.append((self.path, wanted))
        left = self.server.answers.get(self.path, [Answer(b"nothing here", 404)])
        answer = left.pop(0) if len(left) > 1 else left[0]
        status, body, headers = answer.status, answer.body, dict(answer.headers)
        start = re.fullmatch(r"bytes=(\d+)-", wanted)
        strong = "" if answer.etag.startswith("W/") else answer.etag
        same = self.headers.get("If-Range") in (None, strong, answer.modified)
        if start and answer.ranges and same and status == 200:
            first, size = int(start[1]), len(body)
            status = 206 if first < size else 416
            shown = f"{first}-{size - 1}" if first < size else "*"
            headers["Content-Range"] = f"bytes {shown}/{size}"
            body = body[first:]
        if answer.sized:
            headers["Content-Length"] = str(len(body))
        for name, value in (("ETag", answer.etag), ("Last-Modified", answer.modified)):
            if value:
                headers[name] = value
        headers["Connection"] = "close"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if answer.cut is None else body[: answer.cut])
        self.wfile.flush()
        time.sleep(answer.stall)

    def log_message(self, *_):
        """Says nothing: stderr is what tests read."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

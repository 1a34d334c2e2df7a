"""A stand-in for Google Cloud Storage: serves a folder's files by the JSON API's `objects.get`."""

import contextlib
import http.server
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Iterator

_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/?]+)")


@contextlib.contextmanager
def serving(buckets: pathlib.Path, monkeypatch) -> Iterator[list[str]]:
    """Each folder below `buckets` is a bucket, for TensorStore, within this context.

    Yields the list of what is read, `BUCKET/OBJECT`, which grows.
    """
    read: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            match = _OBJECT.match(self.path)
            place = "/".join(map(urllib.parse.unquote, match.groups())) if match else ""
            file = buckets / place
            if not place or not file.is_file():
                self._answer(404, b"{}")
                return
            read.append(place)
            contents = file.read_bytes()
            asked = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if not asked:
                self._answer(200, contents)
                return
            first, last = asked.groups()
            start = int(first) if first else len(contents) - int(last)
            stop = int(last) + 1 if first and last else len(contents)
            part = contents[start:stop]
            total = f"bytes {start}-{start + len(part) - 1}/{len(contents)}"
            self._answer(206, part, {"Content-Range": total})

        def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in {"x-goog-generation": "1", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Tests are quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
        try:
            yield read
        finally:
            server.shutdown()
            thread.join()

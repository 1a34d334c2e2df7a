"""The Hugging Face Hub: its own client reads from a stand-in of the Hub on this machine."""

import hashlib
import http.server
import json
import subprocess
import sys
import threading
import urllib.parse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flan_tasks import hub_source
from flan_tasks.origin import Unavailable

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parquet(first, last):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": list(range(first, last))}), sink)
    return sink.getvalue().to_pybytes()


FILES = {
    "rain/train/0000.parquet": parquet(0, 3),
    "rain/train/0001.parquet": parquet(3, 5),
    "rain/test/0000.parquet": parquet(5, 6),
    "snow/train/0000.parquet": parquet(6, 7),
    "data/hail/train.jsonl-00000-of-00002": b'{"n": 10}\n{"n": 11}\n',
    "data/hail/train.jsonl-00001-of-00002": b'{"n": 12}\n',
    "data/hail/test.jsonl-00000-of-00002": b'{"n": 13}\n',
    "data/hail_stones/train.jsonl-00000-of-00001": b'{"n": 14}\n',
}


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what the client asks for a dataset's revision, file list and files."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        file = path.rpartition(f"/{COMMIT}/")[2] or path
        if path.startswith("/api/datasets/someone/weather/revision/"):
            names = [{"rfilename": name} for name in FILES]
            self.answer(json.dumps({"id": "someone/weather", "sha": COMMIT, "siblings": names}))
        elif path.startswith("/api/datasets/someone/weather/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in FILES.items()
            ]
            self.answer(json.dumps(entries))
        elif file in FILES:
            self.answer(FILES[file])
        else:
            self.send_error(404)

    def answer(self, body):
        data = body.encode() if isinstance(body, str) else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_etag(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def _etag(data):
    return hashlib.sha1(data).hexdigest()


READ = """
import json, sys
from flan_tasks import hub_source
from flan_tasks.origin import Unavailable
for function, name, split, fetch in json.loads(sys.argv[1]):
    try:
        origin = getattr(hub_source, function)(name, split, fetch=fetch)
        print(json.dumps([origin.place, [row["n"] for row in origin.read()]]))
    except Unavailable as error:
        print(json.dumps([error.why, error.remedy]))
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Has another process ask for splits; gives back place and rows, or reason and remedy."""
    pytest.importorskip("huggingface_hub")
    server = http.server.ThreadingHTTPServer(("localhost", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "HF_ENDPOINT": f"http://localhost:{server.server_port}",
        "HF_HUB_DISABLE_XET": "1",
        "FLAN_TASKS_REGISTER": "0",
        "PYTHONPATH": ":".join(sys.path),
    }

    def run(*questions):
        output = subprocess.run(
            [sys.executable, "-c", READ, json.dumps(questions)],
            env={**environment, "HF_HOME": str(tmp_path_factory.mktemp("hub"))},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        return map(json.loads, output.splitlines())

    yield run
    server.shutdown()
    server.server_close()


def test_splits_come_from_the_hubs_parquet_files(ask):
    before, train, again, test, both, no_config, no_dataset = ask(
        ("locate", "someone/weather:rain", "train", False),
        ("locate", "someone/weather:rain", "train", True),
        ("locate", "someone/weather:rain", "train", False),
        ("locate", "someone/weather", "test", True),
        ("locate", "someone/weather", "train", True),
        ("locate", "someone/weather:hail", "train", True),
        ("locate", "someone/climate", "train", True),
    )
    assert "not in the Hub's cache" in before[0]
    assert train == again == ["someone/weather:rain train", [0, 1, 2, 3, 4]]
    assert test[1] == [5]
    assert "rain and snow" in both[0] and "owner/name:config" in both[1]
    assert "no files" in no_config[0]
    assert "someone/climate" in no_dataset[0]


def test_the_publishers_own_files_are_read_where_a_card_names_them(ask):
    before, train, again, other, one, cut_short, none = ask(
        ("locate_files", "someone/weather", "data/hail/train.jsonl-*", False),
        ("locate_files", "someone/weather", "data/hail/train.jsonl-*", True),
        ("locate_files", "someone/weather", "data/hail/train.jsonl-*", False),
        ("locate_files", "someone/weather", "data/hail_stones/train.jsonl-*", False),
        ("locate_files", "someone/weather", "data/hail_stones/train.jsonl-00000-of-00001", True),
        ("locate_files", "someone/weather", "data/hail/test.jsonl-*", True),
        ("locate_files", "someone/weather", "data/snow/train.jsonl-*", True),
    )
    assert "not in the Hub's cache" in before[0]
    assert train == again == ["someone/weather data/hail/train.jsonl-*", [10, 11, 12]]
    assert "not in the Hub's cache" in other[0], "what was not asked for was not downloaded"
    assert one[1] == [14]
    assert "1 of 2 shards are missing: test.jsonl-00001-of-00002" in cut_short[0]
    assert "no files data/snow/train.jsonl-*" in none[0]


def test_without_the_client_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Unavailable, match="not installed") as error:
        hub_source.locate("someone/weather", "train", fetch=True)
    assert error.value.remedy == "run: pip install huggingface_hub"

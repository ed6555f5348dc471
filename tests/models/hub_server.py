"""A hub for one repository, on the loopback: what huggingface_hub asks of the real one to fetch files."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def content_of(path: str, folder: Path, name: str) -> bytes | None:
    """Return what the hub answers under a path; None where there is nothing."""
    names = sorted(file.name for file in folder.iterdir())
    last = path.rpartition("/")[2]
    if path.startswith(f"api/models/{name}/tree/"):
        files = [
            {"type": "file", "path": each, "size": (folder / each).stat().st_size, "oid": COMMIT} for each in names
        ]
        return json.dumps(files).encode()
    if path.startswith(f"api/models/{name}"):
        told = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": each} for each in names]}
        return json.dumps(told).encode()
    return (folder / last).read_bytes() if path.startswith(f"{name}/resolve/") and last in names else None


@contextmanager
def serving(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as repository `name`; give the address, and the list of the files that are fetched."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            content = content_of(path, folder, name)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if path.startswith(name) else "RepoNotFound")
                content = b""
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)
                if f"{name}/resolve" in path:
                    fetched.append(path.rpartition("/")[2])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()

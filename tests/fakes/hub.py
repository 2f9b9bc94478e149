"""A stand-in for Hugging Face's hub on this machine: repositories in memory, with commits, checksums and ranges."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

LARGE_BYTES = 10_000
"""Files from this size on are described as the hub describes large ones: by their SHA-256 (LFS)."""


@dataclass
class FakeHub:
    """`repositories[name][revision]` is a commit, `commits[commit]` its files; `plain` are other addresses.

    `cut_after`: the next longer answer breaks off after that number of bytes; with `is_down_after_cut` all later ones
    are status 503. `requests` are the GETs: (path, requested range), and `authorizations` their headers of that name.
    """

    licence: str = "mit"
    repositories: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    cut_after: int | None = None
    is_down_after_cut: bool = False
    knows_ranges: bool = True
    is_down: bool = False
    spoils: str | None = None
    address: str = ""

    def add(self, name: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Make a commit of these files, to which `revision` and the commit's own name lead."""
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        self.commits[commit] = files
        self.repositories.setdefault(name, {}).update({revision: commit, commit: commit})
        return commit

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers, and body for a GET."""
        if path in self.plain:
            return 200, {}, self.plain[path]
        is_listing = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        name = "/".join(parts[:2])
        if name not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        revision = unquote(parts[3]) if len(parts) > 3 else "main"
        commit = self.repositories[name].get(revision)
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.commits[commit]
        if is_listing:
            return 200, {"Content-Type": "application/json"}, json.dumps(self._listing(name, commit)).encode()
        file = unquote("/".join(parts[4:]))
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_checksums(files[file])["blobId"]}"'}
        body = files[file]
        return 200, headers, bytes(len(body)) if file == self.spoils else body

    def _listing(self, name: str, commit: str) -> dict[str, object]:
        siblings = [
            {"rfilename": file, **_checksums(content)} for file, content in self.commits[commit].items()
        ]
        return {
            **{"_id": "1", "id": name, "modelId": name, "author": name.split("/")[0], "sha": commit},
            **{"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0},
            "cardData": {"license": self.licence},
            "siblings": siblings,
        }


def _checksums(content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    found: dict[str, object] = {"size": len(content), "blobId": blob}
    if len(content) >= LARGE_BYTES:
        digest = hashlib.sha256(content).hexdigest()
        found |= {"blobId": "0" * 40, "lfs": {"size": len(content), "sha256": digest, "pointerSize": 134}}
    return found


def _answering(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            asked = self.headers.get("Range")
            hub.requests.append((path, asked))
            hub.authorizations.append(self.headers.get("Authorization"))
            status, headers, body = (503, {}, b"") if hub.is_down else hub.answer(path)
            if status == 200 and asked and hub.knows_ranges:
                begin = int(asked.removeprefix("bytes=").partition("-")[0])
                headers |= {"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"}
                status, body = 206, body[begin:]
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if hub.cut_after is not None and len(body) > hub.cut_after:
                body, hub.cut_after = body[: hub.cut_after], None
                hub.is_down = hub.is_down_after_cut
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Answers


@contextlib.contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Run the hub on a port of its own, at `address`."""
    hub = FakeHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _answering(hub)) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Do what `HF_ENDPOINT` does, in a process that has already imported huggingface_hub."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("NO_PROXY", "*")

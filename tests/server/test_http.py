"""The fixed table of addresses: the page's files, with headers that keep foreign scripts out."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources

from streamer.server.http import Routes, json_response


def test_the_player_is_served_as_it_is_packaged() -> None:
    """`/` is the page, each of its files has an address and a type, and nothing may frame it."""
    routes = Routes()
    folder = resources.files("streamer.server") / "player"
    for file in folder.iterdir():
        if file.name.rpartition(".")[2] in ("html", "js", "css"):
            answer = routes.respond("GET", f"/player/{file.name}?version=1")
            assert answer.status_code == 200 and answer.body == file.read_bytes()
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert routes.respond("GET", "/").body == (folder / "index.html").read_bytes()


def test_a_table_knows_what_it_does_not_have() -> None:
    """404 for an unknown address, 405 with `Allow` for another method, HEAD without its body."""
    routes = Routes()
    routes.get("/x", lambda: json_response(HTTPStatus.OK, {"a": 1}))
    assert routes.respond("GET", "/y").status_code == 404
    refused = routes.respond("PUT", "/x")
    assert refused.status_code == 405 and refused.headers["Allow"] == "GET, HEAD"
    head = routes.respond("HEAD", "/x")
    assert head.body == b"" and head.headers["Content-Length"] == "8"

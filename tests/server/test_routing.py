"""The table of routes: what a path finds, and the answer to a path that finds nothing."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers

from streamer.server.http import Exchange, RefusedError
from streamer.server.routing import Routes


async def _answer(_exchange: Exchange) -> None:
    raise AssertionError("not called")


def _routes() -> Routes:
    routes = Routes()
    routes.add("GET", "/lists/{name}", _answer)
    routes.add("POST", "/speak", _answer)
    routes.websocket("/speak", lambda *_: "speak")
    routes.websocket("/voices/{voice:path}/stream", lambda *_: "stream")
    return routes


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/lists/one", {"name": "one"}),
        ("/lists/a%2Fb", {"name": "a/b"}),
        ("/lists/%E2%82%AC", {"name": "€"}),
        ("/lists/..", {"name": ".."}),
        ("/lists/a.b", {"name": "a.b"}),
    ],
)
def test_a_parameter_is_one_segment_decoded(path: str, parameters: dict[str, str]) -> None:
    """An encoded slash is part of the segment, and comes out as a slash."""
    assert _routes().find("GET", path)[1] == parameters


@pytest.mark.parametrize("voice", ["tone", "v2/en_speaker_6", "v2%2Fen_speaker_6", "a/b/c"])
def test_a_path_parameter_may_have_several_segments(voice: str) -> None:
    """Clients paste the names of voices into addresses with their slashes, or encode them."""
    found = _routes().find_websocket(f"/voices/{voice}/stream")
    assert found is not None and found[1] == {"voice": voice.replace("%2F", "/")}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/lists", 404, None),
        ("GET", "/lists/", 404, None),
        ("GET", "/lists/a/b", 404, None),
        ("GET", "/listsXone", 404, None),
        ("PUT", "/lists/one", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/speak", 405, "GET, OPTIONS, POST"),
        ("GET", "/speak", 426, "GET, OPTIONS, POST"),
        ("HEAD", "/voices/tone/stream", 426, "GET, OPTIONS"),
        ("POST", "/voices/tone/stream", 405, "GET, OPTIONS"),
    ],
)
def test_what_is_not_there_is_refused(method: str, path: str, status: int, allow: str | None) -> None:
    """An unknown path gets 404, another method 405 with `Allow`, and a path with only a WebSocket 426."""
    with pytest.raises(RefusedError) as refused:
        _routes().find(method, path)
    answer = refused.value.answer
    assert (answer.status, dict(answer.headers).get("Allow")) == (status, allow)


@pytest.mark.parametrize("path", ["/speak", "/speak/", "//speak", "///speak//", "/speak///"])
def test_doubled_and_trailing_slashes_mean_nothing(path: str) -> None:
    """Clients join a base address and a path with one slash too many."""
    routes = _routes()
    assert routes.find("POST", path)[0].handle is _answer
    assert routes.find_websocket(path) is not None
    assert "POST" in routes.allowed(path)
    found = routes.find_websocket("//voices//v2/en_speaker_6/stream/")
    assert found is not None and found[1] == {"voice": "v2/en_speaker_6"}


def test_plain_requests_and_websockets_share_paths() -> None:
    """One address may answer POST and speak WebSocket, and HEAD is answered if GET is."""
    routes = _routes()
    assert routes.find("POST", "/speak")[0].handle is _answer
    assert routes.find_websocket("/speak") is not None
    assert routes.find("HEAD", "/lists/one") == routes.find("GET", "/lists/one")
    assert routes.find_websocket("/lists/one") is None


def test_a_header_tells_the_clients_of_two_protocols_apart() -> None:
    """Requests with it get the one answer, others the other, and HEAD is as GET; what is allowed stays the same."""

    async def answer_theirs(_exchange: Exchange) -> None:
        raise AssertionError("not called")

    routes = _routes()
    routes.add("GET", "/lists/{name}", answer_theirs, header="xi-api-key")
    for method in ("GET", "HEAD"):
        for name in ("xi-api-key", "XI-API-Key"):
            assert routes.find(method, "/lists/one", Headers({name: ""}))[0].handle is answer_theirs
        for headers in (Headers(), Headers({"X-API-Key": "one"}), Headers({"Authorization": "xi-api-key"})):
            assert routes.find(method, "/lists/one", headers)[0].handle is _answer
    assert routes.allowed("/lists/one") == "GET, HEAD, OPTIONS"
    with pytest.raises(RefusedError):
        routes.find("POST", "/lists/one", Headers({"xi-api-key": ""}))

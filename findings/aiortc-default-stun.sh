#!/usr/bin/env bash
# aiortc's RTCPeerConnection() without a configuration asks Google's STUN server for this machine's address.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet aiortc==1.16.0
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from aiortc import RTCConfiguration, RTCIceGatherer

print("aiortc", version("aiortc"))
usual = [url for server in RTCIceGatherer.getDefaultIceServers() for url in ([server.urls] if isinstance(server.urls, str) else server.urls)]
print("servers that are asked unless others are named:", usual)
print("servers of RTCConfiguration():", RTCConfiguration().iceServers, "(None: the usual ones)")
assert any("google.com" in url for url in usual), "this has changed: nobody outside is asked"
assert RTCConfiguration().iceServers is None
PY

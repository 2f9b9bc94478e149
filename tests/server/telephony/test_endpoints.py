"""Telephony costs nothing until somebody calls."""

from __future__ import annotations

import subprocess
import sys


def test_what_is_behind_the_addresses_is_imported_with_the_first_call() -> None:
    code = (
        "import sys\n"
        "from tests.server.speaking import configured\n"
        "from tests.fakes.synthesizer import FakeSynthesizer\n"
        "from streamer.server.adapters import add_adapters\n"
        "from streamer.server.app import Server\n"
        "server = Server(configured(), FakeSynthesizer())\n"
        "add_adapters(server.routes, server._service)\n"
        "ours = {name for name in sys.modules if name.startswith('streamer.server.telephony.')}\n"
        "assert ours == {'streamer.server.telephony.endpoints'}, ours\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

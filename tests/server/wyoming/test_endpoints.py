"""Wyoming's port is opened for those who ask for it, and costs the others nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from streamer.errors import ConfigError
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running
from tests.server.wyoming.speaking import with_wyoming


async def test_without_the_option_there_is_no_port() -> None:
    async with running() as speaking:
        assert speaking.server.tcp_ports == []


def test_without_the_option_its_packages_are_not_imported() -> None:
    """A server that does not speak Wyoming imports neither `wyoming` nor `zeroconf`, nor the adapter's modules."""
    code = (
        "import sys\n"
        "from tests.server.speaking import configured\n"
        "from tests.fakes.synthesizer import FakeSynthesizer\n"
        "from streamer.server.adapters import add_adapters\n"
        "from streamer.server.app import Server\n"
        "server = Server(configured(), FakeSynthesizer())\n"
        "add_adapters(server.routes, server._service)\n"
        "ours = {name for name in sys.modules if name.startswith('streamer.server.wyoming.')}\n"
        "assert ours == {'streamer.server.wyoming.endpoints'}, ours\n"
        "assert not {'wyoming', 'zeroconf', 'ifaddr'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["wyoming", "zeroconf"])
async def test_a_missing_package_is_named_with_its_remedy(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ConfigError, match=rf"{missing}.*pip install 'bark-streamer\[wyoming\]'") as raised:
        await Server(with_wyoming(), FakeSynthesizer()).start()
    assert raised.value.param == "wyoming_port"


async def test_a_port_that_is_taken_is_named() -> None:
    """The error names the option that has to change."""
    async with running(with_wyoming()) as speaking:
        config = configured(server={"wyoming_port": speaking.server.tcp_ports[0]})
        with pytest.raises(ConfigError, match="wyoming_port") as raised:
            await Server(config, FakeSynthesizer()).start()
        assert raised.value.param == "wyoming_port"

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
        "from streamer.server.adapters import add_adapters, add_ports\n"
        "from streamer.server.app import Server\n"
        "server = Server(configured(), FakeSynthesizer())\n"
        "add_ports(server.routes, server._service.config.server)\n"
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
    synthesizer = FakeSynthesizer()
    with pytest.raises(ConfigError, match=rf"{missing}.*pip install 'bark-streamer\[wyoming\]'") as raised:
        await Server(with_wyoming(), synthesizer).start()
    assert raised.value.param == "wyoming_port"
    assert not synthesizer.is_started


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("wyoming_port", None),  # taken
        ("wyoming_host", "192.0.2.77"),
        ("wyoming_host", "no.such.host.invalid"),
        ("wyoming_host", "host with spaces"),
        ("wyoming_host", "[::1"),
    ],
)
async def test_a_port_that_cannot_be_opened_is_told_before_the_model_is_read(
    option: str, value: str | None
) -> None:
    """The error names the option that has to change, and nothing is left open."""
    async with running(with_wyoming()) as speaking:
        options = {"wyoming_port": speaking.server.tcp_ports[0]} | ({option: value} if value else {})
        synthesizer = FakeSynthesizer()
        server = Server(configured(server=options), synthesizer)
        with pytest.raises(ConfigError, match=option) as raised:
            await server.start()
        assert raised.value.param == option
        assert not synthesizer.is_started
        assert not server.num_connections

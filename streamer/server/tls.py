"""The server's certificate: read at the start, and again when the operator asks for it.

Connections that are open keep what they were made with; new handshakes see the new certificate.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from streamer.config import ServerConfig
from streamer.errors import ConfigError


class Certificate:
    """A certificate chain and its private key, as the `context` of TLS handshakes, 1.2 and later."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises `ConfigError` naming the option, the file and the remedy."""
        self._chain = chain
        self._key = key
        self.context = self._read()

    @classmethod
    def of(cls, config: ServerConfig) -> Certificate | None:
        """Return what the settings name, None without TLS. Raises `ConfigError`."""
        if config.tls_cert is None and config.tls_key is None:
            return None
        if config.tls_cert is None or config.tls_key is None:
            given, missing = ("tls_key", "tls_cert") if config.tls_cert is None else ("tls_cert", "tls_key")
            raise ConfigError(f"{given} is set and {missing} is not: TLS needs both", param=missing)
        return cls(config.tls_cert, config.tls_key)

    def reload(self) -> None:
        """Read the files again. Raises `ConfigError`, and then the old certificate stays."""
        self.context = self._read()

    def _read(self) -> ssl.SSLContext:
        for option, path in (("tls_cert", self._chain), ("tls_key", self._key)):
            try:
                path.read_bytes()
            except OSError as error:
                message = f"{option} {path}: {error.strerror}; name a file that the server may read"
                raise ConfigError(message, param=option) from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._chain, self._key, _refuse_to_ask)
        except _EncryptedKeyError:
            message = f"tls_key {self._key} is encrypted: store it without a passphrase, readable for the server alone"
            raise ConfigError(message, param="tls_key") from None
        except ssl.SSLError as error:
            raise self._explained(error) from None
        return context

    def _explained(self, error: ssl.SSLError) -> ConfigError:
        """Say which of the two files is wrong, which OpenSSL does not."""
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"tls_key {self._key} is not the key of tls_cert {self._chain}: name files that belong together"
            return ConfigError(message, param="tls_key")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self._chain)
        except ssl.SSLError:
            message = f"tls_cert {self._chain} holds no certificate: name a PEM file, the server's certificate first"
            return ConfigError(message, param="tls_cert")
        return ConfigError(f"tls_key {self._key} holds no private key: name a PEM file", param="tls_key")


class _EncryptedKeyError(Exception):
    """A passphrase was asked for."""


def _refuse_to_ask() -> str:
    """Stand in for the prompt with which OpenSSL would ask for a passphrase at the terminal."""
    raise _EncryptedKeyError

"""The server's certificate: read at the start, and again when the operator asks for it.

Connections that are open keep what they were made with; new handshakes see the new certificate.
"""

from __future__ import annotations

import base64
import datetime
import logging
import re
import ssl
import time
from pathlib import Path
from typing import Final

from streamer.config import ServerConfig
from streamer.errors import ConfigError

logger = logging.getLogger(__name__)
EXPIRY_WARNING_S: Final = 14 * 86_400
"""How long before its expiry a certificate is warned of, in seconds; what renews it by itself does so earlier."""
WARNING_INTERVAL_S: Final = 86_400
"""Seconds from one such warning to the next."""
_PEM: Final = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([\sA-Za-z0-9+/=]+)-----END ")
_VERSION, _UTC_TIME = 0xA0, 0x17


class Certificate:
    """A certificate chain and its private key, as the `context` of TLS handshakes, 1.2 and later."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises `ConfigError` naming the option, the file and the remedy."""
        self._chain = chain
        self._key = key
        self.expires_s = 0.0
        """When it expires, in seconds since 1970."""
        self._warned_s = 0.0
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
        self._warned_s = 0.0

    def warn_of_expiry(self) -> None:
        """Say in the log, once a day, that the certificate will soon be valid no longer, or is not."""
        now_s = time.time()
        left_s = self.expires_s - now_s
        if left_s < EXPIRY_WARNING_S and now_s >= self._warned_s + WARNING_INTERVAL_S:
            self._warned_s = now_s
            state = "expires soon" if left_s > 0 else "has expired: clients refuse it"
            fields = {"file": str(self._chain), "expires": _date(self.expires_s)}
            logger.warning("the certificate %s; renew it, and send SIGHUP", state, extra=fields)

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
        self.expires_s = read_expiry_s(self._chain.read_bytes())
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


def read_expiry_s(chain: bytes) -> float:
    """Return when the first certificate of a PEM file that OpenSSL has read expires, in seconds since 1970.

    That is `notAfter` in RFC 5280, section 4.1, which Python's `ssl` tells of the other side's certificate alone.
    """
    pem = _PEM.search(chain)
    assert pem is not None
    der = base64.b64decode(pem[1])
    _, place, _ = _element(der, 0)  # Certificate
    _, place, _ = _element(der, place)  # TBSCertificate
    tag, _, end = _element(der, place)
    for _ in range(4 if tag == _VERSION else 3):  # serialNumber, signature and issuer
        _, _, end = _element(der, place)
        place = end
    _, not_before, _ = _element(der, place)  # Validity
    _, _, not_after = _element(der, not_before)
    tag, start, end = _element(der, not_after)
    text = der[start:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%S%z").timestamp()


def _element(der: bytes, place: int) -> tuple[int, int, int]:
    """Return the tag of the DER element at `place`, and where its content begins and ends."""
    length, start = der[place + 1], place + 2
    if length & 0x80:
        num_bytes = length & 0x7F
        length, start = int.from_bytes(der[start : start + num_bytes], "big"), start + num_bytes
    return der[place], start, start + length


def _date(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).isoformat()


class _EncryptedKeyError(Exception):
    """A passphrase was asked for."""


def _refuse_to_ask() -> str:
    """Stand in for the prompt with which OpenSSL would ask for a passphrase at the terminal."""
    raise _EncryptedKeyError

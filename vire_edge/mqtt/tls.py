"""`[mqtt.tls]` → an SSL context: TLS 1.2 or newer, the broker's certificate and name verified, always."""

from __future__ import annotations

import ssl
from pathlib import Path

from vire_edge.config import TlsConfig
from vire_edge.errors import MISPLACED, ConfigError, ConfigUnavailableError


def build_context(config: TlsConfig) -> ssl.SSLContext:
    """Read the certificates.

    Raises:
        ConfigError: a file is missing, no PEM, encrypted, or the key does not fit the certificate.
        ConfigUnavailableError: a file cannot be read now.
    """
    for key, path in (("ca_file", config.ca_file), ("cert_file", config.cert_file), ("key_file", config.key_file)):
        if path is not None:
            _check_readable(key, path)
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except ssl.SSLError:
        raise ConfigError(
            f"mqtt.tls.ca_file: {config.ca_file} holds no certificate; it must be PEM (-----BEGIN CERTIFICATE-----)"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.cert_file is not None and config.key_file is not None:
        _load_own(context, config.cert_file, config.key_file)
    return context


def _check_readable(key: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise ConfigError(f"mqtt.tls.{key}: {path} does not exist; correct the path") from None
    except OSError as error:
        kind = ConfigError if isinstance(error, MISPLACED) else ConfigUnavailableError
        raise kind(f"mqtt.tls.{key}: {path} cannot be read ({error.strerror}); let the daemon's user read it") from None


def _load_own(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    encrypted = False

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal and wait.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(cert_file, key_file, password=no_password)
    except ssl.SSLError as error:
        if encrypted:
            raise ConfigError(
                f"mqtt.tls.key_file: {key_file} is encrypted; remove its password with: openssl pkey -in {key_file}"
            ) from None
        if "MISMATCH" in (error.reason or ""):
            raise ConfigError(
                f"mqtt.tls.key_file: {key_file} is not the key to {cert_file}; give the pair that was made together"
            ) from None
        raise ConfigError(
            f"mqtt.tls.cert_file, mqtt.tls.key_file: {cert_file} or {key_file} is not PEM; convert it with openssl"
        ) from None

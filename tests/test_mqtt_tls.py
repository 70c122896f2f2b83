"""Certificate files: what is wrong with one is said by key, path and remedy."""

from __future__ import annotations

import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from brokers import Certificates

from vire_edge.config import TlsConfig
from vire_edge.errors import ConfigError, ConfigUnavailableError
from vire_edge.mqtt.tls import build_context


def test_only_tls_1_2_and_newer_with_names_verified(certificates: Certificates) -> None:
    context = build_context(TlsConfig(ca_file=certificates.ca))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_the_system_s_authorities_without_a_file() -> None:
    assert build_context(TlsConfig()).verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_of_its_own(certificates: Certificates) -> None:
    build_context(TlsConfig(cert_file=certificates.device_cert, key_file=certificates.device_key))


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    with pytest.raises(ConfigError, match=rf"mqtt\.tls\.ca_file: {path} holds no certificate; it must be PEM"):
        build_context(TlsConfig(ca_file=path))


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_missing_file(certificates: Certificates, tmp_path: Path, key: str) -> None:
    files = {"ca_file": certificates.ca, "cert_file": certificates.device_cert, "key_file": certificates.device_key}
    with pytest.raises(ConfigError, match=rf"mqtt\.tls\.{key}: {tmp_path}/none does not exist; correct the path"):
        build_context(TlsConfig.model_validate(files | {key: tmp_path / "none"}))


def test_a_file_that_cannot_be_read_now_is_worth_another_try() -> None:
    # A regular file of which the kernel can read nothing: as a disk or a share that fails.
    with pytest.raises(ConfigUnavailableError, match=r"mqtt\.tls\.ca_file: .* \(Input/output error\)"):
        build_context(TlsConfig(ca_file=Path("/proc/self/mem")))


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.ca_file: .* cannot be read \(Is a directory\)"):
        build_context(TlsConfig(ca_file=tmp_path))


AS_NOBODY = """
import os, sys
from pathlib import Path
from vire_edge.config import TlsConfig
from vire_edge.errors import ConfigError
from vire_edge.mqtt.tls import build_context

if os.geteuid() == 0:  # root may read everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    build_context(TlsConfig(ca_file=Path(sys.argv[1])))
except ConfigError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("mode", "remedy"), [(0o444, ""), (0, "let the daemon's user read it")])
def test_a_file_that_may_not_be_read(certificates: Certificates, mode: int, remedy: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the test's own folder is closed to everybody else
        Path(folder).chmod(0o755)
        path = Path(folder) / "ca.pem"
        path.write_bytes(certificates.ca.read_bytes())
        path.chmod(mode)
        command = [sys.executable, "-c", AS_NOBODY, str(path)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode != 0) is bool(remedy), finished.stderr
    assert remedy in finished.stderr


def test_a_key_of_another_certificate(certificates: Certificates) -> None:
    with pytest.raises(ConfigError, match=rf"{certificates.broker_key} is not the key to {certificates.device_cert}"):
        build_context(TlsConfig(cert_file=certificates.device_cert, key_file=certificates.broker_key))


def test_an_encrypted_key_is_named_instead_of_asking_on_the_terminal(
    certificates: Certificates, tmp_path: Path
) -> None:
    encrypted = tmp_path / "device.key"
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", str(certificates.device_key)]
    subprocess.run([*command, "-out", str(encrypted)], check=True, capture_output=True)
    with pytest.raises(ConfigError, match=rf"mqtt\.tls\.key_file: {encrypted} is encrypted; remove its password"):
        build_context(TlsConfig(cert_file=certificates.device_cert, key_file=encrypted))


def test_a_pair_that_is_no_pem(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "device.pem"
    path.write_bytes(b"\x30\x82")
    with pytest.raises(ConfigError, match="is not PEM; convert it with openssl"):
        build_context(TlsConfig(cert_file=path, key_file=certificates.device_key))

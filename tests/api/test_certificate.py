"""The certificate: made once, and anew when it is of no use or somebody may have its key."""

import shutil
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import make_foreign

from torcd.api.certificate import make_certificate, open_certificate
from torcd.protocol.errors import Refused
from torcd.protocol.private_files import write_private
from torcd.protocol.tls import fingerprint_of, parse_fingerprint


def test_it_is_made_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    first = open_certificate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_certificate(path).fingerprint == first.fingerprint
    assert first.context.minimum_version >= ssl.TLSVersion.TLSv1_3
    der = ssl.PEM_cert_to_DER_cert(path.read_text().partition("-----BEGIN PRIVATE KEY")[0])
    assert first.fingerprint == fingerprint_of(der)


def test_one_that_somebody_made_is_taken_while_it_is_valid(tmp_path: Path) -> None:
    write_private(tmp_path / "tls.pem", make_foreign())
    before = (tmp_path / "tls.pem").read_bytes()
    open_certificate(tmp_path / "tls.pem")
    assert (tmp_path / "tls.pem").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        make_foreign(days=-1),
        make_foreign(password=b"x"),
        make_foreign().partition(b"-----BEGIN PRIVATE")[0],
        make_foreign().partition(b"-----BEGIN PRIVATE")[0]
        + make_foreign().partition(b"-----END CERTIFICATE-----\n")[2],
        b"",
        b"\xff",
        make_certificate()[:500],
        b"x" * 20_000,
    ],
    ids=["expired", "encrypted", "no key", "another key", "empty", "no text", "cut off", "too long"],
)
def test_one_that_is_of_no_use_is_made_anew(tmp_path: Path, content: bytes) -> None:
    write_private(tmp_path / "tls.pem", content)
    made = open_certificate(tmp_path / "tls.pem")
    assert open_certificate(tmp_path / "tls.pem").fingerprint == made.fingerprint
    assert content not in (tmp_path / "tls.pem").read_bytes() or not content


def test_one_whose_key_others_may_have_read_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    first = open_certificate(path)
    path.chmod(0o640)
    assert open_certificate(path).fingerprint != first.fingerprint
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        open_certificate(tmp_path / "none" / "tls.pem")


def test_the_library_that_makes_it_is_imported_for_that_only(tmp_path: Path) -> None:
    """It takes 90 ms of a start."""
    open_certificate(tmp_path / "tls.pem")
    program = (
        "import sys; from pathlib import Path; from torcd.api.certificate import open_certificate;"
        f"open_certificate(Path({str(tmp_path / 'tls.pem')!r})); import torcd.daemon;"
        "assert not any(name.startswith(('cryptography', 'psutil')) for name in sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_the_fingerprint_is_what_openssl_calls_so(tmp_path: Path) -> None:
    made = open_certificate(tmp_path / "tls.pem")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", tmp_path / "tls.pem"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert parse_fingerprint(shown.stdout.partition("=")[2]) == made.fingerprint


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 65, "sha1:" + "a" * 40])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="64 hexadecimal digits"):
        parse_fingerprint(text)

"""TLS as torcd and its clients use it: no authority vouches for the daemon, its certificate is known beforehand.

A client compares the certificate's SHA-256 with the fingerprint it has from the connection file (or was given),
after the handshake and before it sends anything. Names and dates in the certificate mean nothing to it: hosts have
many names, and their clocks may be wrong.
"""

import hashlib
import hmac
import re
import socket
import ssl

from torcd.protocol.errors import Refused, Unreachable


class WrongCertificate(Unreachable):
    """What answers is not the daemon that was meant. It has been told nothing."""


def fingerprint_of(certificate: bytes) -> str:
    """The SHA-256 of a certificate in DER, in hexadecimal."""
    return hashlib.sha256(certificate).hexdigest()


def parse_fingerprint(text: str) -> str:
    """A fingerprint as people write it: with colons, in capitals, after `sha256:`. Raises Refused."""
    plain = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if re.fullmatch("[0-9a-f]{64}", plain) is None:
        raise Refused("the certificate's fingerprint must be its SHA-256: 64 hexadecimal digits")
    return plain


def client_context() -> ssl.SSLContext:
    """TLS 1.3 that accepts any certificate: `check_certificate` decides."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_certificate(certificate: bytes | None, fingerprint: str, url: str) -> None:
    """Raises WrongCertificate unless the peer's certificate (in DER) is the one that was meant."""
    found = fingerprint_of(certificate or b"")
    if not hmac.compare_digest(found, parse_fingerprint(fingerprint)):
        raise WrongCertificate(
            f"what answers at {url} is not the daemon that was meant: its certificate has the fingerprint {found}; "
            "nothing was sent to it",
            url=url,
            fingerprint=found,
        )


def wrap_stream(stream: socket.socket, fingerprint: str, url: str, timeout_s: float) -> ssl.SSLSocket:
    """The encrypted stream to the daemon that was meant. Takes `stream` over.

    Raises what `check_certificate` raises, and OSError.
    """
    with stream:  # what is wrapped is detached from it
        wrapped = client_context().wrap_socket(stream, do_handshake_on_connect=False)
    try:
        wrapped.settimeout(timeout_s)
        wrapped.do_handshake()
        check_certificate(wrapped.getpeercert(binary_form=True), fingerprint, url)
    except BaseException:
        wrapped.close()
        raise
    return wrapped

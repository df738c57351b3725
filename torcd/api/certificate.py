"""The daemon's certificate: made by itself, kept with its key in one private file, known by its fingerprint."""

import datetime
import logging
import ssl
from pathlib import Path

import msgspec

from torcd.protocol.errors import Refused
from torcd.protocol.private_files import read_private, write_private
from torcd.protocol.tls import fingerprint_of

logger = logging.getLogger(__name__)

LIMIT_BYTES = 16 * 1024
"""A certificate and a key of this kind take 900 bytes."""

VALID_DAYS = 3653
"""Clients do not look at the dates; this only bounds for how long one key is used."""

_END = "-----END CERTIFICATE-----\n"


class Certificate(msgspec.Struct, frozen=True):
    """What the listener needs, and what its clients must know."""

    context: ssl.SSLContext
    fingerprint: str


def open_certificate(path: Path) -> Certificate:
    """The certificate in `path`. It is made anew when it is not there, was open to others, or is of no use (any more).

    Raises Refused when it cannot be written. A crash leaves the old file or the new one.
    """
    try:
        return _load(path)
    except (FileNotFoundError, NotADirectoryError):
        logger.info("%s: a certificate is made", path)
    except (Refused, OSError, ValueError) as error:  # of ssl, too
        logger.warning("%s: the certificate is made anew, its fingerprint changes: %s", path, error)
    try:
        write_private(path, make_certificate())
    except OSError as error:
        raise Refused(f"{path}: the certificate cannot be written: {error.strerror}", path=str(path)) from error
    return _load(path)


def _load(path: Path) -> Certificate:
    pem = read_private(path, LIMIT_BYTES).decode("ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # sessions are not resumed, and a client that hangs up at once breaks no write
    context.load_cert_chain(path, password="")  # an encrypted key is an error, not a question on the terminal
    certificate = pem[: pem.index(_END) + len(_END)]
    _check(context, certificate)
    return Certificate(context, fingerprint_of(ssl.PEM_cert_to_DER_cert(certificate)))


def _check(context: ssl.SSLContext, certificate: str) -> None:
    """Shakes hands with itself, as strictly as OpenSSL can: raises ssl.SSLError when the certificate has expired."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.load_verify_locations(cadata=certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = client_context.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    client.do_handshake()  # raises unless it is done


def make_certificate() -> bytes:
    """A new certificate and its key, as PEM."""
    # Imported here because it takes 90 ms, and a daemon needs it once in ten years.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "torcd")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private

"""Certificates that torcd did not make, and a server that shows one and listens to what it is told."""

import datetime
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat


def make_foreign(*, days: int = 10, password: bytes | None = None) -> bytes:
    """A certificate, valid for so many days from now (it has expired when they are negative), and its key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(end - datetime.timedelta(days=20)).not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return certificate.public_bytes(Encoding.PEM) + private


class Impostor:
    """Listens with TLS where a daemon did. `heard` is all that clients told it after the handshake."""

    def __init__(self, port: int, path: Path) -> None:
        path.write_bytes(make_foreign())
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(path)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.heard = b""
        self.visits = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain, suppress(OSError):
                self.visits += 1
                plain.settimeout(5)
                with self._context.wrap_socket(plain, server_side=True) as stream:
                    while data := stream.recv(1000):
                        self.heard += data

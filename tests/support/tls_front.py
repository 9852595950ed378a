"""TLS in front of a server that has none, as engines of quotas without TLS in their build."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from support.openssl import openssl


class TlsFront:
    """Terminates TLS on this machine, and forwards each connection to `target`.

    Envoy closes its side of a connection as soon as it has sent a request, and reads the answer then. So first all of
    the request is forwarded, then all of the answer.
    """

    def __init__(self, folder: Path, host: str, name: str, target: tuple[str, int]):
        """`name` is the DNS name in the certificate, which is its own CA."""
        self.certificate, key = folder / "front.crt", folder / "front.key"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        names = ("-subj", "/CN=engine", "-addext", f"subjectAltName=DNS:{name}")
        openssl("req", "-x509", *curve, *names, "-keyout", key, "-out", self.certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.target = target
        self.listener = socket.create_server((host, 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]

    def start(self) -> "TlsFront":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self) -> None:
        # `close` alone does not wake up a thread that accepts.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._forward, args=(connection,), daemon=True).start()

    def _forward(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            with (
                self.context.wrap_socket(connection, server_side=True) as client,
                socket.create_connection(self.target, timeout=10) as server,
            ):
                while some := client.recv(1 << 16):
                    server.sendall(some)
                while some := server.recv(1 << 16):
                    client.sendall(some)

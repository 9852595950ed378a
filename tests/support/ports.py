"""Ports that a program is told to use, and that no other program can take meanwhile."""

import socket
from types import TracebackType


class ReservedPort:
    """A free port that stays reserved until `close`.

    The socket is bound and does not listen, so connections to the port are refused until a program listens there. A
    program can bind the same port because both sockets set SO_REUSEADDR (Go, Rust's standard library) or SO_REUSEPORT
    (Envoy). The kernel does not give the port to anybody who asks for a free one.
    """

    def __init__(self, host: str = "127.0.0.1"):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((host, 0))
        self.host, self.number = self._socket.getsockname()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.number}"

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "ReservedPort":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

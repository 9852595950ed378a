"""A backend by `h2` alone, which shows every header that comes and answers whatever a test likes."""

import queue
import socket
import threading

import h2.config
import h2.connection
import h2.events

OK = [(":status", "200"), ("content-type", "application/grpc")]


class Raw:
    """Answers every request with these headers, this body and these trailers; without the latter two, by headers alone."""

    def __init__(self) -> None:
        self.requests: queue.Queue[list[tuple[str, str]]] = queue.Queue()
        self.answer(OK, b"\0\0\0\0\0", [("grpc-status", "0")])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, headers: list, body: bytes | None = None, trailers: list | None = None) -> None:
        self.says = (headers, body, trailers)

    def take(self) -> list[tuple[str, str]]:
        """The headers of the next request."""
        return self.requests.get(timeout=10)

    def stop(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        server = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=False)
        )
        server.initiate_connection()
        connection.sendall(server.data_to_send())
        headers: dict[int, list] = {}
        while data := connection.recv(65536):
            for event in server.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        headers[event.stream_id] = event.headers
                    case h2.events.StreamEnded():
                        self.requests.put(headers.pop(event.stream_id))
                        self._say(server, event.stream_id)
            connection.sendall(server.data_to_send())

    def _say(self, server: h2.connection.H2Connection, stream: int) -> None:
        first, body, last = self.says
        server.send_headers(stream, first, end_stream=body is None and last is None)
        if body is not None:
            server.send_data(stream, body, end_stream=last is None)
        if last is not None:
            server.send_headers(stream, last, end_stream=True)

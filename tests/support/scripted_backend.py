"""A backend on `h2` alone: it shows every request header, and answers what a test tells it to."""

import queue
import socket
import threading

import h2.config
import h2.connection
import h2.events

OK = [(":status", "200"), ("content-type", "application/grpc")]


class ScriptedBackend:
    """Answers every request with the headers, body and trailers of the last `answer`."""

    def __init__(self) -> None:
        self._requests: queue.Queue[list[tuple[str, str]]] = queue.Queue()
        self.answer(OK, b"\0\0\0\0\0", [("grpc-status", "0")])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, headers: list, body: bytes | None = None, trailers: list | None = None) -> None:
        """Sets the answer. Without body and trailers, the stream ends with the headers."""
        self._answer = (headers, body, trailers)

    def take(self) -> list[tuple[str, str]]:
        """The headers of the next request; waits for it."""
        return self._requests.get(timeout=20)

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
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
                        self._requests.put(headers.pop(event.stream_id))
                        self._send_answer(server, event.stream_id)
            connection.sendall(server.data_to_send())

    def _send_answer(self, server: h2.connection.H2Connection, stream: int) -> None:
        headers, body, trailers = self._answer
        server.send_headers(stream, headers, end_stream=body is None and trailers is None)
        if body is not None:
            server.send_data(stream, body, end_stream=trailers is None)
        if trailers is not None:
            server.send_headers(stream, trailers, end_stream=True)

"""Many requests over many connections at once: encoded beforehand, sent together, decoded afterwards."""

import time
from dataclasses import dataclass

from support.client import GRPC, Answer, Http2, frame
from support.sink import GRPC_PATHS

TRACES = GRPC_PATHS["traces"]
DATA, HEADERS, RST_STREAM = 0, 1, 3
END_STREAM = 1


@dataclass
class Sent:
    """The answers of each connection, and the times before the first byte was sent and after the last one arrived."""

    answers: list[list[Answer]]
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def send_together(requests: list[tuple[Http2, list[bytes]]]) -> Sent:
    """Sends these messages as gRPC exports of traces, all at once, and waits for every answer."""
    streams = [[_export(connection, message) for message in messages] for connection, messages in requests]
    outgoing = [connection.h2.data_to_send() for connection, _ in requests]
    incoming = [bytearray() for _ in requests]

    began = time.monotonic()
    for (connection, _), data in zip(requests, outgoing, strict=True):
        connection.socket.sendall(data)
    for (connection, _), expected, received in zip(requests, streams, incoming, strict=True):
        # Decoding takes longer than answering. It is left for later, so that it is not part of the measured time.
        open_streams, position = set(expected), 0
        while open_streams:
            data = connection.socket.recv(65536)
            assert data, "the gate closed a connection"
            received += data
            position, ended = scan(received, position)
            open_streams.difference_update(ended)
    ended = time.monotonic()

    for (connection, _), received in zip(requests, incoming, strict=True):
        for event in connection.h2.receive_data(bytes(received)):
            connection.on(event)
        connection.flush()
    answers = [
        [connection.answers[stream] for stream in expected]
        for (connection, _), expected in zip(requests, streams, strict=True)
    ]
    return Sent(answers, began, ended)


def _export(connection: Http2, message: bytes) -> int:
    """Puts a call into the connection's send buffer; returns its stream."""
    stream = connection.h2.get_next_available_stream_id()
    headers = {":method": "POST", ":path": TRACES, ":scheme": "https", ":authority": "localhost"} | GRPC
    connection.h2.send_headers(stream, list(headers.items()))
    connection.h2.send_data(stream, frame(message), end_stream=True)
    connection.answers[stream] = Answer()
    return stream


def scan(data: bytearray, position: int) -> tuple[int, list[int]]:
    """Goes through the complete HTTP/2 frames (RFC 9113, 4.1) from `position` on. Returns where they end, and the
    streams that end in them. A stream that is answered before its request is complete ends twice: it is reset as well.
    """
    ended = []
    while position + 9 <= len(data):
        length, kind, flags = int.from_bytes(data[position : position + 3]), data[position + 3], data[position + 4]
        if position + 9 + length > len(data):
            break
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            ended.append(int.from_bytes(data[position + 5 : position + 9]) & 0x7FFFFFFF)
        position += 9 + length
    return position, ended

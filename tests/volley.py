"""Many requests over many connections at once: written beforehand, sent together, understood afterwards."""

import time
from dataclasses import dataclass

from client import Answer, Http2, frame
from sink import GRPC_PATHS

TRACES = GRPC_PATHS["traces"]
DATA, HEADERS, RST_STREAM = 0, 1, 3
END_STREAM = 1


@dataclass
class Fired:
    """What became of a volley: the answers of each connection, and the seconds from before the first byte to the last."""

    answers: list[list[Answer]]
    began: float
    ended: float


def fire(requests: list[tuple[Http2, list[bytes]]]) -> Fired:
    """Sends these messages as gRPC exports of traces, all at once, and waits for every answer."""
    streams = [[export(connection, message) for message in messages] for connection, messages in requests]
    loads = [connection.h2.data_to_send() for connection, _ in requests]
    answers = [bytearray() for _ in requests]

    began = time.monotonic()
    for (connection, _), load in zip(requests, loads):
        connection.socket.sendall(load)
    for (connection, _), of, answer in zip(requests, streams, answers):
        # To understand answers takes longer than to give them: that is for later, when time does not count.
        open_streams, position = set(of), 0
        while open_streams:
            data = connection.socket.recv(65536)
            assert data, "the gate closed a connection"
            answer += data
            position, ended = scan(answer, position)
            open_streams.difference_update(ended)
    ended = time.monotonic()

    for (connection, _), answer in zip(requests, answers):
        for event in connection.h2.receive_data(bytes(answer)):
            connection.on(event)
        connection.flush()
    found = [[connection.answers[stream] for stream in of] for (connection, _), of in zip(requests, streams)]
    return Fired(found, began, ended)


def ready(connection: Http2) -> Http2:
    """Waits for what the gate says first: how much it takes at once."""
    while not connection.h2.remote_settings.max_concurrent_streams < 2**31:
        connection.receive()
    return connection


def export(connection: Http2, message: bytes) -> int:
    """Puts a call where the next flush sends it; its stream."""
    stream = connection.h2.get_next_available_stream_id()
    headers = {":method": "POST", ":path": TRACES, ":scheme": "https", ":authority": "localhost"}
    headers |= {"content-type": "application/grpc", "te": "trailers"}
    connection.h2.send_headers(stream, list(headers.items()))
    connection.h2.send_data(stream, frame(message), end_stream=True)
    connection.answers[stream] = Answer()
    return stream


def scan(data: bytearray, position: int) -> tuple[int, list[int]]:
    """Goes over the whole HTTP/2 frames (RFC 9113, 4.1) from `position` on: where they end, and which streams do. A stream that was
    answered before its request had arrived whole ends twice, since it is reset then as well."""
    ended = []
    while position + 9 <= len(data):
        length, kind, flags = int.from_bytes(data[position : position + 3]), data[position + 3], data[position + 4]
        if position + 9 + length > len(data):
            break
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            ended.append(int.from_bytes(data[position + 5 : position + 9]) & 0x7FFFFFFF)
        position += 9 + length
    return position, ended

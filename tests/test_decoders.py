"""For valid and damaged messages: decoders read the same from the forwarded message as from the message that was sent,
except for the owned attributes, which are the client's."""

import base64
import gzip
import json
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from support.client import Identity
from support.protobuf import field, string, uint, varint
from support.sink import HTTP_PATHS, REQUESTS, Sink

PDATA = os.environ["PDATA"]
# Not set where Node is not installed.
PROTOBUFJS = os.environ.get("PROTOBUFJS")
OWNED = {"tenant.id": "acme", "otlp_gate.client": "acme-edge"}
ENTRIES = {
    "traces": "resourceSpans",
    "metrics": "resourceMetrics",
    "logs": "resourceLogs",
    "profiles": "resourceProfiles",
}


class Reader:
    """A program with decoders: it reads messages and prints them decoded, one a line."""

    def __init__(self, *command: str) -> None:
        # The Collector prints invalid UTF-8 of a damaged message as it is.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="surrogateescape"
        )

    def read(self, how: str, message: bytes) -> dict | list | None:
        """The decoded message; `None` where the decoder rejects it."""
        self.process.stdin.write(f"{how} {base64.b64encode(message).decode()}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line and not line.startswith("error: panic"), (line, message)
        return None if line.startswith("error: ") else json.loads(line)

    def stop(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(10) == 0


class Collector(Reader):
    """The Collector's decoders, and others that are written in Go."""

    def __init__(self) -> None:
        super().__init__(PDATA)

    def read(self, signal: str, kind: str, message: bytes) -> dict | list | None:
        return super().read(f"{signal} {kind}", message)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def javascript() -> Iterator[Reader | None]:
    reader = Reader("node", f"{PROTOBUFJS}/read.js") if PROTOBUFJS else None
    yield reader
    if reader:
        reader.stop()


def protobuf(signal: str, message: bytes) -> dict | None:
    """The message as protobuf's own implementation reads it, in the form of the Collector's output."""
    try:
        decoded = json_format.MessageToDict(REQUESTS[signal].FromString(message))
    except DecodeError:
        return None
    # The owned keys may be in the table, behind the strings that were there. Index 0 means no key.
    table = decoded.get("dictionary", {}).get("stringTable", [])
    if table[-len(OWNED) :] == sorted(OWNED):
        del decoded["dictionary"]["stringTable"][-len(OWNED) :]
        table = [*table, *sorted(OWNED)]
    for entry in decoded.get("resourceProfiles", []):
        for attribute in entry.get("resource", {}).get("attributes", []):
            if index := attribute.pop("keyStrindex", 0):
                attribute["key"] = table[index] if index < len(table) else f"index {index}"
    return decoded


class Generator:
    """Generates messages in any encoding that the wire format allows. Where `doubled`, fields that should occur once
    may occur twice."""

    def __init__(self, seed: int, signal: str, doubled: bool = False):
        self.dice = random.Random(seed)
        self.doubled = doubled
        # The Collector rejects messages with a group that is not empty, so only some have groups.
        self.groups = seed % 4 == 0
        # Some profiles have keys by index into the table of strings, possibly an invalid index.
        self.tables = signal == "profiles" and seed % 5 < 3
        self.signal = signal

    def message(self) -> bytes:
        parts = [self.some([self.entry, self.unknown], 3), self.dictionary() if self.tables else b""]
        self.dice.shuffle(parts)
        return b"".join(parts)

    def dictionary(self) -> bytes:
        """The table of strings of profiles."""
        return self.field(2, b"".join(self.field(5, text) for text in (b"", b"tenant.id", b"service.name", b"")))

    def entry(self) -> bytes:
        # A Resource may be at any place among the other fields.
        rest = [self.scope, self.unknown, lambda: self.field(3, b"https://schema")]
        resources = self.dice.choice([0, 1, 1, 1, 2] if self.doubled else [0, 1, 1])
        parts = [self.some(rest, 2) for _ in range(3)] + [self.resource() for _ in range(resources)]
        self.dice.shuffle(parts)
        return self.field(1, b"".join(parts))

    def resource(self) -> bytes:
        return self.field(1, self.some([self.attribute] * 3 + [lambda: uint(2, 1), self.unknown], 6))

    def attribute(self) -> bytes:
        keys = [b"tenant.id"] * 3 + [
            b"otlp_gate.client",
            b"service.name",
            b"",
            b"tenant.id ",
            "tenant.id\u0301".encode(),
        ]
        keys += [b"tenant_id", b"TENANT-ID", b"tenant", b"tenant", b"otlp", b"tenant.identity"]
        key, value = lambda: self.field(1, self.dice.choice(keys)), lambda: self.field(2, self.value(0))
        parts = [key(), value()][self.dice.choice([0, 0, 0, 0, 1]) :] + [self.unknown()] * self.dice.choice([0, 0, 1])
        if self.doubled and self.dice.random() < 0.1:
            parts.append(self.dice.choice([key, value])())
        if self.tables:
            # With a table, the Collector reads plain keys as the table's first string, also in maps.
            parts = [uint(3, self.dice.randint(0, 3)), self.field(2, self.value(5))]
        self.dice.shuffle(parts)
        return self.field(1, b"".join(parts))

    def value(self, depth: int) -> bytes:
        if self.doubled and self.dice.random() < 0.05:
            return self.value(depth + 1) + self.value(depth + 1)
        plain = [string("v"), uint(2, 1), uint(3, 2**63), varint(4 << 3 | 1) + b"\1" * 8, field(7, b"\0\xff"), b""]
        if depth > 4 or self.dice.random() < 0.7:
            return self.dice.choice(plain)
        if self.dice.random() < 0.5:
            return field(5, b"".join(field(1, self.value(depth + 1)) for _ in range(2)))
        key = self.dice.choice([b"tenant.id", b"id", b"ID", b"gate", b"client", b""])
        return field(6, field(1, field(1, key) + field(2, self.value(depth + 1))))

    def scope(self) -> bytes:
        item = {
            "traces": lambda: self.field(5, b"span") + self.field(9, field(1, b"tenant.id") + field(2, string("own"))),
            "metrics": lambda: self.field(1, b"m") + field(self.dice.choice([5, 7, 9, 10, 11]), field(1, b"") * 2),
            "logs": lambda: self.field(5, string("log")),
            "profiles": lambda: uint(3, 1) + field(2, b"") * 2,
        }[self.signal]
        parts = [lambda: self.field(2, item()), lambda: self.field(1, field(1, b"scope")), self.unknown]
        return self.field(2, self.some(parts, 4))

    def unknown(self) -> bytes:
        numbers = [1999, 2**29 - 1, 77]
        number = self.dice.choice(numbers)
        group = lambda inside: varint(number << 3 | 3) + inside + varint(number << 3 | 4)
        plain = [
            self.field(number, b"kept"),
            uint(number, 2**64 - 1),
            varint(number << 3 | 5) + b"\1\2\3\4",
            varint(number << 3 | 1) + b"\1" * 8,
        ]
        # Groups that contain something like a Resource or an attribute.
        hidden = [group(uint(3, 1) + field(1, field(1, field(1, b"tenant.id")))), group(group(b"") + uint(1, 1))]
        return self.dice.choice(plain + hidden * self.groups)

    def some(self, parts: list[Callable[[], bytes]], most: int) -> bytes:
        return b"".join(self.dice.choice(parts)() for _ in range(self.dice.randint(0, most)))

    def field(self, number: int, data: bytes) -> bytes:
        """A field whose varints may be longer than needed."""
        widths = [1, 1, 1, 2, 5]
        tag = varint(number << 3 | 2, self.dice.choice(widths))
        return tag + varint(len(data), self.dice.choice(widths)) + data

    def damage(self, message: bytes) -> bytes:
        """The message with some bytes changed, removed or added."""
        bytes_ = bytearray(message)
        for _ in range(self.dice.randint(1, 3)):
            at = self.dice.randrange(len(bytes_) + 1)
            match self.dice.randrange(3):
                case 0:
                    bytes_[at:at] = bytes([self.dice.choice([0, 1, 7, 8, 0x0A, 0x0B, 0x0C, 0x80, 0xFF])])
                case 1:
                    del bytes_[at : at + self.dice.randint(1, 3)]
                case _:
                    bytes_[at : at + 1] = bytes([self.dice.randrange(256)])
        return bytes(bytes_)


def fold(key: str) -> str:
    """A key as a backend without case and separators has it."""
    return "_".join(re.findall("[a-z0-9]+", key.lower()))


FOLDED_KEYS = {fold(key) for key in OWNED}


def owned_below(path: str, value: dict) -> bool:
    """Whether a key in the maps and lists of a value is an owned key."""
    if fold(path) in FOLDED_KEYS:
        return True
    pairs = value.get("kvlistValue", {}).get("values", [])
    elements = value.get("arrayValue", {}).get("values", [])
    return any(owned_below(f"{path}.{pair.get('key', '')}", pair.get("value", {})) for pair in pairs) or any(
        owned_below(path, element) for element in elements
    )


def split(signal: str, decoded: dict) -> tuple[dict, list[list]]:
    """The message without owned attributes, and the owned attributes of each Resource."""
    owned = []
    # The program prints the Resources of profiles like those of traces.
    for entry in decoded.get(ENTRIES[signal], decoded.get("resourceSpans", [])):
        resource = entry.setdefault("resource", {})
        attributes = resource.pop("attributes", [])
        for attribute in attributes:
            # The Collector keeps the index beside the key.
            attribute.pop("keyStrindex", None)
        mine = [
            attribute for attribute in attributes if owned_below(attribute.get("key", ""), attribute.get("value", {}))
        ]
        owned.append(sorted(mine, key=lambda attribute: attribute.get("key", "")))
        # Decoders differ in whether they print an empty list.
        resource["kept"] = [attribute for attribute in attributes if attribute not in mine]
    return decoded, owned


OWNED_ATTRIBUTES = [{"key": key, "value": {"stringValue": OWNED[key]}} for key in sorted(OWNED)]


def compare(signal: str, read: Callable[[bytes], dict | None], sent: bytes, received: bytes) -> bool:
    """Compares what a decoder reads from both messages. Returns whether it can read the sent one at all."""
    before, after = read(sent), read(received)
    if after is None:
        assert before is None, "the decoder can read the sent message, but not the forwarded one"
        return False
    kept, owned = split(signal, after)
    for of_resource in owned:
        assert of_resource == OWNED_ATTRIBUTES
    if before is not None:
        assert kept == split(signal, before)[0]
    return before is not None


@pytest.mark.parametrize("signal", ENTRIES)
def test_decoders_read_what_was_sent_and_the_owned_attributes(
    connect: Callable, acme: Identity, sink: Sink, collector: Collector, signal: str
) -> None:
    connection, seen = connect(acme), Counter()
    for seed in range(400):
        generator = Generator(seed, signal)
        message = generator.message()
        if damaged := seed % 3 == 0:
            message = generator.damage(message)
        body, headers = (gzip.compress(message), {"content-encoding": "gzip"}) if seed % 2 else (message, {})
        answer = connection.http(HTTP_PATHS[signal], body, headers)
        if answer.status != 200:
            # An index may be outside the table.
            assert (damaged or generator.tables) and answer.status == 400, (seed, answer, message)
            seen["rejected"] += 1
            continue
        received = sink.take().body
        try:
            seen["Collector"] += compare(signal, lambda of: collector.read(signal, "proto", of), message, received)
            seen["protobuf"] += compare(signal, lambda of: protobuf(signal, of), message, received)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {message.hex()} became {received.hex()}") from error
    print(signal, dict(seen))
    assert seen["Collector"] > 150 and seen["protobuf"] > 250 and seen["rejected"] > 10


@pytest.mark.parametrize("signal", ENTRIES)
def test_decoders_read_what_was_sent_as_json_and_the_owned_attributes(
    connect: Callable, acme: Identity, sink: Sink, collector: Collector, signal: str
) -> None:
    connection, compared = connect(acme), 0
    for seed in range(150):
        generator = Generator(seed, signal)
        message: Message = REQUESTS[signal].FromString(generator.message())
        text = json_format.MessageToJson(message, preserving_proto_field_name=bool(seed % 2), indent=None)
        if seed % 3 == 0:
            text = text.replace("tenant.id", r"tenant\u002eid").replace('"key"', r'"\u006bey"')
        answer = connection.json(HTTP_PATHS[signal], text.encode())
        if generator.tables and answer.status == 400:
            continue
        assert answer.status == 200, (seed, answer, text)
        received = sink.take().body
        try:
            compared += compare(signal, lambda of: collector.read(signal, "json", of), text.encode(), received)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {text} became {received}") from error
    print(signal, compared)
    assert compared > 80


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_all_decoders_read_the_same_owned_attributes(
    connect: Callable, acme: Identity, sink: Sink, collector: Collector, javascript: Reader | None, signal: str
) -> None:
    """Where fields occur twice, decoders that read the first one, the last one or merge them read the owned attributes
    that the gate wrote, and no others."""
    connection, seen = connect(acme), Counter()
    readers = {
        "Go": lambda of: collector.read(signal, "protobuf", of),
        "easyproto": lambda of: collector.read(signal, "easyproto", of),
    }
    if javascript:
        readers |= {f"protobufjs {n}": lambda message, n=n: javascript.read(n, message) for n in "678"}
    for seed in range(400):
        message = Generator(seed, signal, doubled=True).message()
        answer = connection.http(HTTP_PATHS[signal], message)
        if answer.status != 200:
            assert answer.status == 400, (seed, answer, message)
            seen["rejected"] += 1
            continue
        received = sink.take().body
        where = (seed, message.hex(), received.hex())
        for name, read in [
            ("Collector", lambda of: collector.read(signal, "proto", of)),
            ("protobuf", lambda of: protobuf(signal, of)),
        ]:
            if (decoded := read(received)) is not None:
                seen[name] += 1
                assert all(of_resource == OWNED_ATTRIBUTES for of_resource in split(signal, decoded)[1]), (name, where)
        for name, read in readers.items():
            if (entries := read(received)) is not None:
                seen[name] += 1
                owned = [sorted(pair for pair in pairs if fold(pair[0]) in FOLDED_KEYS) for pairs in entries]
                assert all(pairs == sorted(map(list, OWNED.items())) for pairs in owned), (name, owned, where)
    print(signal, dict(seen))
    assert seen["rejected"] > 50 and all(seen[name] > 100 for name in [*readers, "Collector", "protobuf"]), seen


# A forged attribute as a field of a Resource, and messages in which protobufjs 6 and 7 read it where other decoders do
# not: they read a known field as its declared type, and a varint of 6 to 9 bytes as one of 10.
FORGED = "0a130a0974656e616e742e696412060a046576696c"
MISREAD = {
    "a schema_url that is a varint": f"0a1d 0a00 1802 7a17 0a15 {FORGED}",
    "a dropped_attributes_count that is a message": f"0a19 0a17 1215 {FORGED}",
    "a tag of 6 bytes in the request": f"fa8080808000 1d 00000000 0a17 0a15 {FORGED}",
    "a tag of 6 bytes in an entry": f"0a24 0a00 fa8080808000 1b 00000000 0a15 {FORGED}",
    "a tag of 6 bytes in a Resource": f"0a22 0a20 fa8080808000 19 00000000 {FORGED}",
    "a dropped_attributes_count of 6 bytes": f"0a22 0a20 10808080808000 7a170000 {FORGED}",
}


@pytest.mark.parametrize("case", MISREAD)
def test_a_message_that_protobufjs_reads_differently_is_rejected(
    connect: Callable, acme: Identity, sink: Sink, javascript: Reader | None, case: str
) -> None:
    message = bytes.fromhex(MISREAD[case])
    if javascript:
        for version in "67":
            read = javascript.read(version, message)
            assert read is not None, version
            assert ["tenant.id", "evil"] in [pair for pairs in read for pair in pairs], (version, read)
    for signal in ("traces", "metrics", "logs"):
        assert connect(acme).http(HTTP_PATHS[signal], message).status == 400
    assert sink.rest() == []

"""An encoder for protobuf that can also write what libraries would not.

Field numbers are those of opentelemetry-proto. The export requests of all signals have the same shape down to Resource.
"""

VARINT, LEN = 0, 2


def varint(number: int, width: int = 1) -> bytes:
    """A varint of at least `width` bytes. Every decoder accepts one that is longer than needed."""
    out = bytearray()
    while number > 0x7F or len(out) + 1 < width:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number: int, data: bytes, *, width: int = 1) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | LEN, width) + varint(len(data), width) + data


def uint(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def string(value: str) -> bytes:
    """An AnyValue that holds a string."""
    return field(1, value.encode())


def attribute(key: str, value: str, *, width: int = 1) -> bytes:
    """A KeyValue as a field of Resource."""
    return field(1, field(1, key.encode(), width=width) + field(2, string(value), width=width), width=width)


def resource(*attributes: bytes, width: int = 1) -> bytes:
    """A Resource as a field of ResourceSpans, ResourceLogs or ResourceMetrics."""
    return field(1, b"".join(attributes), width=width)


def span(name: str, *more: bytes) -> bytes:
    """A Span as a field of ScopeSpans."""
    return field(2, field(1, b"\x11" * 16) + field(2, b"\x22" * 8) + field(5, name.encode()) + b"".join(more))


def log_record(name: str) -> bytes:
    """A LogRecord as a field of ScopeLogs."""
    return field(2, field(5, string(name)))


def metric(name: str) -> bytes:
    """A Metric as a field of ScopeMetrics: a gauge with one point."""
    return field(2, field(1, name.encode()) + field(5, field(1, b"")))


def profile(_: str) -> bytes:
    """A Profile as a field of ScopeProfiles: one sample, and no name."""
    return field(2, field(2, uint(1, 0)))


ITEMS = {"traces": span, "metrics": metric, "logs": log_record}


def scope(*items: bytes) -> bytes:
    """A ScopeSpans, ScopeMetrics or ScopeLogs as a field of its Resource's entry."""
    return field(2, field(1, field(1, b"scope")) + b"".join(items))


def request(*parts: bytes, width: int = 1) -> bytes:
    """An export request with one ResourceSpans that has these fields."""
    return field(1, b"".join(parts), width=width)


def traces(*names: str, attributes: tuple[bytes, ...] = ()) -> bytes:
    """An export request with spans of these names."""
    return request(resource(attribute("service.name", "test"), *attributes), scope(*map(span, names)))

"""The filter's module with a fault added: a callback traps when Envoy calls it with a certain number. The module itself
has no input that traps, so its code is changed (WebAssembly core specification 2.0, 5.5)."""

EXPORT_SECTION, CODE_SECTION = 7, 10
FUNCTION = 0
LOCAL_GET, I32_CONST, I32_EQ, IF, UNREACHABLE, END = 0x20, 0x41, 0x46, 0x04, 0x00, 0x0B
NO_RESULT = 0x40


def with_trap(module: bytes, callback: str, number: int) -> bytes:
    """The module, whose exported function `callback` traps if its second argument is `number`."""
    check = bytes([LOCAL_GET, 1, I32_CONST, *_signed(number), I32_EQ, IF, NO_RESULT, UNREACHABLE, END])
    out, position = module[:8], 8
    index = None
    while position < len(module):
        kind = module[position]
        size, start = _read_unsigned(module, position + 1)
        section = module[start : start + size]
        if kind == EXPORT_SECTION:
            index = _exported(section, callback) - _import_count(module)
        if kind == CODE_SECTION:
            section = _patched(section, index, check)
        out += bytes([kind]) + _unsigned(len(section)) + section
        position = start + size
    return out


def _patched(section: bytes, index: int, check: bytes) -> bytes:
    """The code section with `check` at the start of the function with this index."""
    count, position = _read_unsigned(section, 0)
    out = _unsigned(count)
    for function in range(count):
        size, start = _read_unsigned(section, position)
        body = section[start : start + size]
        if function == index:
            groups, code = _read_unsigned(body, 0)
            for _ in range(groups):
                _, code = _read_unsigned(body, code)
                code += 1
            body = body[:code] + check + body[code:]
        out += _unsigned(len(body)) + body
        position = start + size
    return out


def _exported(section: bytes, name: str) -> int:
    """The index of the function that is exported under this name."""
    count, position = _read_unsigned(section, 0)
    for _ in range(count):
        size, start = _read_unsigned(section, position)
        kind = section[start + size]
        index, position = _read_unsigned(section, start + size + 1)
        if section[start : start + size] == name.encode() and kind == FUNCTION:
            return index
    raise AssertionError(f"the module does not export {name}")


def _import_count(module: bytes) -> int:
    """The number of imported functions, whose indexes come before the module's own. All its imports are functions."""
    kind, position = module[8], 8
    while kind != 2:
        size, start = _read_unsigned(module, position + 1)
        position = start + size
        kind = module[position]
    _, start = _read_unsigned(module, position + 1)
    return _read_unsigned(module, start)[0]


def _read_unsigned(data: bytes, position: int) -> tuple[int, int]:
    """A LEB128 number, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _unsigned(value: int) -> bytes:
    return _encoded(value, 0x80)


def _signed(value: int) -> bytes:
    """A positive number, with room for the sign bit."""
    return _encoded(value, 0x40)


def _encoded(value: int, limit: int) -> bytes:
    out = bytearray()
    while value >= limit:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

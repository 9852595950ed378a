"""The module with a trap in it: a callback that ends the VM when the proxy calls it with a certain number. The module itself has no
such place, so its code is changed (WebAssembly core specification 2.0, 5.5)."""

EXPORT_SECTION, CODE_SECTION = 7, 10
FUNCTION = 0
LOCAL_GET, I32_CONST, I32_EQ, IF, UNREACHABLE, END = 0x20, 0x41, 0x46, 0x04, 0x00, 0x0B
NO_RESULT = 0x40


def trapped(module: bytes, callback: str, number: int) -> bytes:
    """The module, whose `callback` ends the VM if its second argument is `number`."""
    check = bytes([LOCAL_GET, 1, I32_CONST, *signed(number), I32_EQ, IF, NO_RESULT, UNREACHABLE, END])
    out, position = module[:8], 8
    index = None
    while position < len(module):
        kind = module[position]
        size, start = unsigned(module, position + 1)
        section = module[start : start + size]
        if kind == EXPORT_SECTION:
            index = exported(section, callback) - imported(module)
        if kind == CODE_SECTION:
            section = patched(section, index, check)
        out += bytes([kind]) + leb(len(section)) + section
        position = start + size
    return out


def patched(section: bytes, index: int, check: bytes) -> bytes:
    """The code section with `check` at the start of the function of this index."""
    count, position = unsigned(section, 0)
    out = leb(count)
    for function in range(count):
        size, start = unsigned(section, position)
        body = section[start : start + size]
        if function == index:
            groups, behind = unsigned(body, 0)
            for _ in range(groups):
                _, behind = unsigned(body, behind)
                behind += 1
            body = body[:behind] + check + body[behind:]
        out += leb(len(body)) + body
        position = start + size
    return out


def exported(section: bytes, name: str) -> int:
    """The index of the function that is exported under this name."""
    count, position = unsigned(section, 0)
    for _ in range(count):
        size, start = unsigned(section, position)
        kind = section[start + size]
        index, position = unsigned(section, start + size + 1)
        if section[start : start + size] == name.encode() and kind == FUNCTION:
            return index
    raise AssertionError(f"the module exports no {name}")


def imported(module: bytes) -> int:
    """How many functions it imports, which are counted before its own; all its imports are functions."""
    kind, position = module[8], 8
    while kind != 2:
        size, start = unsigned(module, position + 1)
        position = start + size
        kind = module[position]
    _, start = unsigned(module, position + 1)
    return unsigned(module, start)[0]


def unsigned(data: bytes, position: int) -> tuple[int, int]:
    """A LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value: int) -> bytes:
    """A positive number, with room for its sign."""
    out = bytearray()
    while value >= 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

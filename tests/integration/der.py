"""DER as the tests speak it: an implementation of its own, written from X.690 alone, so that
the programs' reader and writer are held against something they share no line with.

Two levels. `tlv`, `parse` and `tree` deal in raw elements, for octets that no correct
implementation would write. asn1.py, above, encodes and decodes values by docs/asn1."""

CONSTRUCTED = 0x20
CONTEXT = 0x80

BOOLEAN = 0x01
INTEGER = 0x02
OCTET_STRING = 0x04
ENUMERATED = 0x0a
UTF8_STRING = 0x0c
SEQUENCE = 0x30


class DerError(ValueError):
    """Octets that break DER, or a value that its type does not allow."""


def length(n):
    """The length octets for N, in the shortest form."""
    if n < 0x80:
        return bytes([n])
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def tlv(tag, content):
    """One element. TAG is the identifier octet; CONTENT octets, or elements to join."""
    if not isinstance(content, (bytes, bytearray, memoryview)):
        content = b"".join(content)
    return bytes([tag]) + length(len(content)) + bytes(content)


def context(number, content, constructed=True):
    """An element with the context tag [NUMBER]."""
    return tlv(CONTEXT | (CONSTRUCTED if constructed else 0) | number, content)


def integer(n):
    """The content octets of INTEGER (and ENUMERATED) N: two's complement, as few as do."""
    size = 1
    while not -(1 << (8 * size - 1)) <= n < 1 << (8 * size - 1):
        size += 1
    return n.to_bytes(size, "big", signed=True)


def read_integer(content):
    if not content:
        raise DerError("an INTEGER without content")
    if len(content) > 1 and (content[0] == 0x00 and content[1] < 0x80
                             or content[0] == 0xff and content[1] >= 0x80):
        raise DerError("an INTEGER longer than needed")
    return int.from_bytes(content, "big", signed=True)


def parse(octets):
    """Splits the first element off OCTETS: (tag, content, rest). Strict about lengths."""
    if len(octets) < 2:
        raise DerError("cut off in the tag or length")
    tag, first = octets[0], octets[1]
    if tag & 0x1f == 0x1f:
        raise DerError("a tag number over 30")
    if first < 0x80:
        size, start = first, 2
    elif first == 0x80:
        raise DerError("an indefinite length")
    else:
        start = 2 + (first & 0x7f)
        if len(octets) < start:
            raise DerError("cut off in the length")
        size = int.from_bytes(octets[2:start], "big")
        if octets[2] == 0 or size < 0x80:
            raise DerError("a length longer than needed")
    if len(octets) < start + size:
        raise DerError(f"cut off: {size} octets announced, {len(octets) - start} there")
    return tag, octets[start:start + size], octets[start + size:]


def elements(content):
    """The elements that CONTENT consists of: a list of (tag, content)."""
    found = []
    while content:
        tag, inner, content = parse(content)
        found.append((tag, inner))
    return found


def tree(octets):
    """OCTETS, exactly one element, as (tag, content); content of constructed ones is a list."""
    tag, content, rest = parse(octets)
    if rest:
        raise DerError(f"{len(rest)} octets after the end")
    return _grow(tag, content)


def _grow(tag, content):
    if tag & CONSTRUCTED:
        return tag, [_grow(*element) for element in elements(content)]
    return tag, bytes(content)


def build(node):
    """The opposite of tree: (tag, octets or list of nodes) to octets."""
    tag, content = node
    if isinstance(content, (bytes, bytearray)):
        return tlv(tag, content)
    return tlv(tag, [build(inner) for inner in content])

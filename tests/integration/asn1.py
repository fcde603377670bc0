"""Reads the ASN.1 modules in docs/asn1 and encodes and decodes values by them.

Knows what these modules use: SEQUENCE, SEQUENCE OF, CHOICE, OCTET STRING, UTF8String, INTEGER,
ENUMERATED, BOOLEAN, OPTIONAL, context tags, imports; IMPLICIT TAGS (a tag on a CHOICE is
explicit) and EXTENSIBILITY IMPLIED. Values are plain Python:

    SEQUENCE     dict, absent OPTIONAL elements left out     OCTET STRING  bytes
    SEQUENCE OF  list                                        UTF8String    str
    CHOICE       (name, value)                               INTEGER       int
    ENUMERATED   name (an int too when encoding)             BOOLEAN       bool
"""

import os
import re

import der
from der import DerError

_TOKEN = re.compile(r"\s+|--[^\n]*|(::=|[{}()\[\],;]|\.\.|[A-Za-z][A-Za-z0-9-]*|[0-9]+)")

_UNIVERSAL = {"BOOLEAN": der.BOOLEAN, "INTEGER": der.INTEGER, "OCTET STRING": der.OCTET_STRING,
              "ENUMERATED": der.ENUMERATED, "UTF8String": der.UTF8_STRING,
              "SEQUENCE": der.SEQUENCE, "SEQUENCE OF": der.SEQUENCE}


class Type:
    """One ASN.1 type: kind names it, what else is set depends on the kind."""

    def __init__(self, kind, **rest):
        self.kind = kind
        self.tag = None         # context tag, or None
        self.low = self.high = None
        self.__dict__.update(rest)


class _Parser:
    def __init__(self, text):
        self.tokens = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                raise ValueError(f"cannot read ASN.1 at: {text[at:at + 30]!r}")
            if match.group(1):
                self.tokens.append(match.group(1))
            at = match.end()
        self.at = 0

    def peek(self):
        return self.tokens[self.at]

    def next(self, *expected):
        token = self.tokens[self.at]
        if expected and token not in expected:
            raise ValueError(f"ASN.1: {token} where {expected} should be")
        self.at += 1
        return token

    def accept(self, token):
        if self.at < len(self.tokens) and self.tokens[self.at] == token:
            self.at += 1
            return True
        return False

    def module(self):
        """(name, {type name: Type}, {imported type name: module name})"""
        name, types, imports = self.next(), {}, {}
        while self.next() != "BEGIN":
            pass
        if self.accept("IMPORTS"):
            waiting = []
            while not self.accept(";"):
                if self.accept("FROM"):
                    imports.update(dict.fromkeys(waiting, self.next()))
                    waiting = []
                elif not self.accept(","):
                    waiting.append(self.next())
        while not self.accept("END"):
            defined = self.next()
            self.next("::=")
            types[defined] = self.type()
        return name, types, imports

    def type(self):
        tag = None
        if self.accept("["):
            tag = int(self.next())
            self.next("]")
        found = self.untagged()
        found.tag = tag
        return found

    def untagged(self):
        word = self.next()
        if word == "SEQUENCE":
            if self.accept("OF"):
                return Type("SEQUENCE OF", of=self.type())
            return Type("SEQUENCE", members=self.members())
        if word == "CHOICE":
            return Type("CHOICE", members=self.members())
        if word == "OCTET":
            self.next("STRING")
            return self.constrained(Type("OCTET STRING"))
        if word == "ENUMERATED":
            names = {}
            self.next("{")
            while not self.accept("}"):
                name = self.next()
                self.next("(")
                names[name] = int(self.next())
                self.next(")")
                self.accept(",")
            return Type("ENUMERATED", names=names, values={n: name for name, n in names.items()})
        if word in ("INTEGER", "UTF8String", "BOOLEAN"):
            return self.constrained(Type(word))
        return Type("reference", name=word)

    def constrained(self, found):
        if self.accept("("):
            inner = self.accept("SIZE") and self.next("(")
            found.low = int(self.next())
            found.high = found.low
            if self.accept(".."):
                high = self.next()
                found.high = None if high == "MAX" else int(high)
            self.next(")")
            if inner:
                self.next(")")
        return found

    def members(self):
        """[(name, Type, optional)] between braces."""
        found = []
        self.next("{")
        while not self.accept("}"):
            name = self.next()
            member = self.type()
            found.append((name, member, self.accept("OPTIONAL")))
            self.accept(",")
        return found


class Modules:
    """The modules of one folder."""

    def __init__(self, folder):
        self.modules = {}
        for entry in sorted(os.listdir(folder)):
            if entry.endswith(".asn1"):
                with open(os.path.join(folder, entry), encoding="utf-8") as file:
                    name, types, imports = _Parser(file.read()).module()
                self.modules[name] = (types, imports)

    def resolve(self, module, found):
        """FOUND with references followed: (module it stands in, Type)."""
        while found.kind == "reference":
            types, imports = self.modules[module]
            if found.name not in types:
                module = imports[found.name]
                types = self.modules[module][0]
            found = types[found.name]
        return module, found

    # ---- encoding

    def encode(self, module, name, value):
        """The DER of VALUE as the type NAME of MODULE ("IM2000-MSOAP", "Pdu")."""
        return self._encode(module, self.modules[module][0][name], value)

    def _encode(self, module, declared, value):
        module, found = self.resolve(module, declared)
        if found.kind == "CHOICE":
            inner = self._encode_choice(module, found, value)
            return inner if declared.tag is None else der.context(declared.tag, inner)
        constructed = found.kind in ("SEQUENCE", "SEQUENCE OF")
        content = self._content(module, found, value)
        if declared.tag is None:
            return der.tlv(_UNIVERSAL[found.kind], content)
        return der.context(declared.tag, content, constructed)

    def _encode_choice(self, module, found, value):
        chosen, inner = value
        for name, member, _ in found.members:
            if name == chosen:
                return self._encode(module, member, inner)
        raise DerError(f"no alternative {chosen}")

    def _content(self, module, found, value):
        if found.kind == "SEQUENCE":
            left = dict(value)
            parts = []
            for name, member, optional in found.members:
                if left.get(name) is None:
                    left.pop(name, None)
                    if not optional:
                        raise DerError(f"{name} is missing")
                    continue
                parts.append(self._encode(module, member, left.pop(name)))
            if left:
                raise DerError(f"no such elements: {', '.join(left)}")
            return b"".join(parts)
        if found.kind == "SEQUENCE OF":
            return b"".join(self._encode(module, found.of, item) for item in value)
        if found.kind == "ENUMERATED":
            return der.integer(value if isinstance(value, int) else found.names[value])
        if found.kind == "INTEGER":
            return der.integer(value)
        if found.kind == "BOOLEAN":
            return b"\xff" if value else b"\x00"
        if found.kind == "UTF8String":
            return value.encode("utf-8")
        return bytes(value)

    # ---- decoding

    def decode(self, module, name, octets):
        """The value of OCTETS, exactly one element. DerError for what is no DER or no NAME."""
        tag, content, rest = der.parse(octets)
        if rest:
            raise DerError(f"{len(rest)} octets after the end")
        return self._decode(module, self.modules[module][0][name], tag, content)

    def _tags(self, module, declared):
        """The identifier octets that an element of this type may begin with."""
        module, found = self.resolve(module, declared)
        if declared.tag is not None:
            constructed = found.kind in ("SEQUENCE", "SEQUENCE OF", "CHOICE")
            return {der.CONTEXT | (der.CONSTRUCTED if constructed else 0) | declared.tag}
        if found.kind == "CHOICE":
            return set().union(*(self._tags(module, member) for _, member, _ in found.members))
        return {_UNIVERSAL[found.kind]}

    def _decode(self, module, declared, tag, content):
        if tag not in self._tags(module, declared):
            raise DerError(f"tag {tag:02x} where {declared.kind} should be")
        module, found = self.resolve(module, declared)
        if found.kind == "CHOICE":
            if declared.tag is not None:
                tag, content, rest = der.parse(content)
                if rest:
                    raise DerError("octets after a choice")
            for name, member, _ in found.members:
                if tag in self._tags(module, member):
                    return name, self._decode(module, member, tag, content)
            raise DerError(f"no alternative with the tag {tag:02x}")
        if found.kind == "SEQUENCE":
            return self._decode_sequence(module, found, content)
        if found.kind == "SEQUENCE OF":
            return [self._decode(module, found.of, *item) for item in der.elements(content)]
        return self._primitive(found, content)

    def _decode_sequence(self, module, found, content):
        value = {}
        waiting = list(found.members)
        last = -1
        for tag, inner in der.elements(content):
            if not tag & der.CONTEXT or tag & 0x1f <= last:
                raise DerError("elements out of order")
            last = tag & 0x1f
            while waiting and waiting[0][1].tag < last:
                name, _, optional = waiting.pop(0)
                if not optional:
                    raise DerError(f"{name} is missing")
            if waiting and waiting[0][1].tag == last:
                name, member, _ = waiting.pop(0)
                value[name] = self._decode(module, member, tag, inner)
        for name, _, optional in waiting:
            if not optional:
                raise DerError(f"{name} is missing")
        return value

    def _primitive(self, found, content):
        if found.kind == "BOOLEAN":
            if content not in (b"\x00", b"\xff"):
                raise DerError("a BOOLEAN that is neither 00 nor FF")
            return content == b"\xff"
        if found.kind == "ENUMERATED":
            n = der.read_integer(content)
            return found.values.get(n, n)
        if found.kind == "INTEGER":
            return self._within(found, der.read_integer(content))
        if found.kind == "UTF8String":
            text = bytes(content).decode("utf-8")
            if "\0" in text:
                raise DerError("U+0000 in text")
            return text
        self._within(found, len(content))
        return bytes(content)

    @staticmethod
    def _within(found, n):
        if found.low is not None and (n < found.low or found.high is not None and n > found.high):
            raise DerError(f"{n} is outside {found.low}..{found.high}")
        return n

"""A store of the test's own, that Bob reads from: honest by protocol.md section 7, until the test
bends its answers."""

import hashlib
import os

import harness
import wire
from people import Case

BLOCK = 65536


def leaves(message):
    """The hashes of a message's blocks."""
    blocks = [message[i:i + BLOCK] for i in range(0, len(message), BLOCK)] or [b""]
    return [hashlib.sha256(b"\x00" + block).digest() for block in blocks]


def left_of(n):
    """Of N blocks, how many the left subtree takes."""
    left = 1
    while left * 2 < n:
        left *= 2
    return left


def node(hashes):
    """The root over HASHES."""
    if len(hashes) == 1:
        return hashes[0]
    left = left_of(len(hashes))
    return hashlib.sha256(b"\x01" + node(hashes[:left]) + node(hashes[left:])).digest()


def digest(message):
    """The digest tree of a message, by protocol.md section 7."""
    return node(leaves(message))


def proof(hashes, first, end):
    """The hashes that a reader of blocks FIRST to END - 1 lacks, left to right."""
    n = len(hashes)
    if first >= n or end <= 0:
        return [node(hashes)]
    if first <= 0 and end >= n:
        return []
    left = left_of(n)
    return (proof(hashes[:left], first, min(end, left))
            + proof(hashes[left:], first - left, end - left))


def widened(message, offset, length):
    """The block borders around a range: begin, end."""
    end = offset + length if length else len(message)
    end = min(len(message), -(-end // BLOCK) * BLOCK)
    return offset // BLOCK * BLOCK, end


def answered(message, fields):
    """What an honest store answers to a retrieve of `all`: a dict."""
    offset, length = fields["offset"], fields["length"]
    if not fields.get("proof"):
        end = offset + length if length else len(message)
        return {"size": len(message), "offset": offset, "data": message[offset:end]}
    begin, end = widened(message, offset, length)
    return {"size": len(message), "offset": begin,
            "proof": proof(leaves(message), begin // BLOCK, -(-end // BLOCK)),
            "data": message[begin:end]}


class Played(Case):
    """Bob, his agent, and a store of the test's own at a.example. `asked`: what it was asked."""

    def play(self, serve=None):
        """SERVE(peer) plays the store; by default `messages` (by their ids) are served, and
        `bend(fields, answer)` says what becomes of each answer."""
        self.asked, self.messages, self.bend = [], {}, None
        self.server = self.site.server("msrap", "a.example", serve or self.serve)
        self.b = self.site.notify("b.example")
        self.b.mailbox("bob")
        self.bob = self.site.person("bob", notify=self.b)
        self.bob.set(route=self.site.routes() +
                     [f"a.example msrap {harness.endpoint(self.server.address)}"])
        self.cert = self.site.authority.issue("a.example", usage="serverAuth")

    def announce(self, *messages):
        """Bob is notified of MESSAGES, each a dict: of the fields of its notification, and
        `message`, its octets. Their numbers are as they stand here."""
        values = []
        for fields in messages:
            fields = dict(fields)
            message = fields.pop("message")
            message_id = len(self.messages).to_bytes(16, "big")
            self.messages[message_id] = message
            value = {"size": len(message), "digest": digest(message),
                     "header": message.split(b"\r\n\r\n")[0] + b"\r\n\r\n", **fields}
            value = {k: v for k, v in value.items() if v is not None}
            values.append(wire.notification("a.example", "bob@b.example", message_id,
                                            "alice@a.example", **value))
        with self.b.client("rnasp", cert=self.cert[0], key=self.cert[1]) as client:
            done = client.call("notify", notifications=values).expect("ok")
        self.assertEqual(set(done.data["results"]), {"accepted"})
        self.assertEqual(len(self.bob.json("list")), len(self.messages))

    def take(self, peer):
        """The next command: its name and fields."""
        side, value = wire.MODULES.decode("IM2000-MSRAP", "Pdu", peer.read_frame())
        self.assertEqual(side, "command")
        self.asked.append(value["data"])
        return value["data"]

    def retrieved(self):
        """The fields of each retrieve so far."""
        return [fields for name, fields in self.asked if name == "retrieve"]

    def serve(self, peer):
        while True:
            try:
                name, fields = self.take(peer)
            except wire.Closed:
                return
            if name != "retrieve":
                peer.send_raw(wire.frame(wire.response("msrap", name)))
                continue
            answer = answered(self.messages[fields["id"]], fields)
            if self.bend:
                answer = self.bend(fields, answer)
            if isinstance(answer, bytes):       # cut off there
                peer.send_raw(answer)
                return
            peer.send_raw(wire.frame(wire.response("msrap", "retrieve", answer)))

    def give(self, peer, data, size=None, offset=0):
        """Answers a retrieve without proof."""
        peer.send_raw(wire.frame(wire.response(
            "msrap", "retrieve", {"size": len(data) + offset if size is None else size,
                                  "offset": offset, "data": data})))

    def silence(self, peer):
        self.assertEqual(self.take(peer)[0], "silence")
        peer.send_raw(wire.frame(wire.response("msrap", "silence")))

    def cache(self):
        try:
            return os.listdir(os.path.join(self.bob.folder, "data", "cache"))
        except FileNotFoundError:
            return []

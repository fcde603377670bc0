"""Raw peers of the four protocols over TLS 1.3: for what the programs' own clients would never
send (pipelined, cut, slow and hostile input), and to check what comes back against docs/asn1.

    with wire.Client("msoap", store.address["msoap"], "a.example", ca) as c:
        c.call("authenticate", account="alice", password="x").expect("ok")

Values are those of asn1.py. An element whose name is a Python word (`from`) goes in a dict:
c.call("submitReference", {"from": 3, ...})."""

import os
import socket
import ssl
import struct
import threading

import asn1
import der

KINDS = ("msoap", "msrap", "rnasp", "rnaqp")

SRC = os.environ.get("IM2000_SRC") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

MODULES = asn1.Modules(os.path.join(SRC, "docs", "asn1"))

# Seconds within which a peer must say something; far more than a healthy one needs.
PATIENCE = 30


def module(kind):
    return "IM2000-" + kind.upper()


def alpn(kind):
    return f"im2000-{kind}/1"


def domain_name(text):
    """"a.example" as the value of a DomainName."""
    return text.split(".")


def mailbox(text):
    """"bob@b.example" as the value of a Mailbox."""
    local, domain = text.rsplit("@", 1)
    return {"localpart": local, "domain": domain_name(domain)}


def mailbox_text(value):
    return value["localpart"] + "@" + ".".join(value["domain"])


def location(domain):
    """DOMAIN as the value of a ServiceLocation."""
    return ("domain", domain_name(domain))


def notification(store, recipient, message_id, sender, **more):
    """The value of a Notification, with what must be there."""
    value = {"storeClear": ("literals", []), "storeTls": location(store),
             "recipient": mailbox(recipient), "id": message_id, "sender": sender}
    value.update(more)
    return value


def frame(octets):
    """OCTETS behind their length: a frame."""
    return struct.pack(">I", len(octets)) + octets


def command(kind, name, fields=None, **more):
    """The DER of a command."""
    value = dict(fields or {}, **more)
    return MODULES.encode(module(kind), "Pdu", ("command", {"data": (name, value)}))


def response(kind, name="none", fields=None, status="ok", abort=False, **more):
    """The DER of a response, for a peer that plays the server. MORE: text, retryAfter."""
    value = {"abort": abort, "status": status, "data": (name, dict(fields or {})), **more}
    return MODULES.encode(module(kind), "Pdu", ("response", value))


def chunk_head(offset, is_last, size):
    """The frame of a submitChunk with SIZE octets of data, up to that data, which the caller
    sends next: so that a large message need not be held in memory."""
    data_head = bytes([der.CONTEXT | 2]) + der.length(size)
    start = (der.context(0, b"\xff" if is_last else b"\x00", False)
             + der.context(1, der.integer(offset), False) + data_head)
    for tag in (0xa2, 0xa0, 0xa1):      # submitChunk, data, command
        start = bytes([tag]) + der.length(len(start) + size) + start
    return struct.pack(">I", len(start) + size) + start


class Response:
    """A decoded response. `data` is the value of the alternative `name`."""

    def __init__(self, kind, octets):
        self.octets = octets
        side, value = MODULES.decode(module(kind), "Pdu", octets)
        if side != "response":
            raise AssertionError(f"a {side} from a server")
        self.abort, self.status = value["abort"], value["status"]
        self.name, self.data = value["data"]
        self.text, self.retry_after = value.get("text"), value.get("retryAfter")

    def expect(self, status="ok", abort=None):
        """Itself, when it has this status (and `abort`); else AssertionError."""
        if self.status != status or abort is not None and abort != self.abort:
            raise AssertionError(f"expected {status}, abort {abort}; got {self}")
        return self

    def __repr__(self):
        data = repr(self.data)
        return (f"Response({self.status}, abort={self.abort}, {self.name}, "
                f"{data if len(data) < 300 else data[:300] + '...'}, text={self.text!r})")


class Closed(Exception):
    """The peer closed where an answer, or the rest of one, should have come."""


class Peer:
    """Frames over a connected socket; what client and server side share."""

    def __init__(self, kind, sock):
        self.kind = kind
        self.sock = sock

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send_raw(self, octets):
        self.sock.sendall(octets)

    def read_exactly(self, n):
        parts, have = [], 0
        while have < n:
            try:
                part = self.sock.recv(min(n - have, 1 << 20))
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as e:
                raise Closed(f"{have} of {n} octets, then {e}") from e
            if not part:
                raise Closed(f"{have} of {n} octets")
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def read_frame(self):
        """The octets of the next PDU."""
        size, = struct.unpack(">I", self.read_exactly(4))
        return self.read_exactly(size)

    def closed(self):
        """True when the peer closes without another octet; AssertionError when it sends one."""
        try:
            more = self.sock.recv(1)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return True
        if more:
            raise AssertionError(f"expected the end, got {more!r}")
        return True


def client_context(ca=None, cert=None, key=None):
    """TLS 1.3 alone. CA None: the server's certificate is not checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca:
        context.load_verify_locations(ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context


class Client(Peer):
    """A client that has connected and shaken hands with ADDRESS, (host, port), as DOMAIN. Where
    ADDRESS is a path, it is a UNIX socket's: no TLS, and nothing of the rest counts.

    CA: file of the authority that must have signed the server; None checks nothing.
    CERT, KEY: shown as TLS client. PROTOCOLS: what to offer by ALPN instead of KIND's own."""

    def __init__(self, kind, address, domain, ca=None, cert=None, key=None, protocols=None,
                 context=None, patience=PATIENCE):
        if isinstance(address, str):
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(patience)
            raw.connect(address)
            super().__init__(kind, raw)
            return
        context = context or client_context(ca, cert, key)
        offered = [alpn(kind)] if protocols is None else protocols
        if offered:
            context.set_alpn_protocols(offered)
        raw = socket.create_connection(address, timeout=patience)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            super().__init__(kind, context.wrap_socket(raw, server_hostname=domain))
        except BaseException:
            raw.close()
            raise

    def send(self, name, fields=None, **more):
        """Sends a command and waits for nothing."""
        self.send_raw(frame(command(self.kind, name, fields, **more)))

    def recv(self):
        return Response(self.kind, self.read_frame())

    def call(self, name, fields=None, **more):
        """Sends a command and returns its Response."""
        self.send(name, fields, **more)
        return self.recv()

    def send_chunk(self, parts, size, offset=0, is_last=True):
        """Streams a submitChunk of SIZE octets from the iterable PARTS."""
        self.send_raw(chunk_head(offset, is_last, size))
        for part in parts:
            self.send_raw(part)

    def recv_data(self, sink):
        """Reads a retrieve response whose data may be large: SINK gets the octets of the frame
        in pieces as they come, DER heads included. Returns how many there were."""
        size, = struct.unpack(">I", self.read_exactly(4))
        left = size
        while left:
            piece = self.read_exactly(min(left, 1 << 16))
            sink(piece)
            left -= len(piece)
        return size


class Server:
    """A server of KIND that plays what the test needs: SERVE(Peer) is called in a thread for
    each connection. Stop with close(). `errors` has what went wrong in handshakes and SERVE."""

    def __init__(self, kind, cert, key, serve, ca=None, port=0):
        self.kind = kind
        self.serve = serve
        self.errors = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(cert, key)
        self.context.set_alpn_protocols([alpn(kind)])
        if ca:
            self.context.load_verify_locations(ca)
            self.context.verify_mode = ssl.CERT_OPTIONAL
        self.listener = socket.create_server(("127.0.0.1", port))
        self.address = self.listener.getsockname()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._session, args=(raw,), daemon=True).start()

    def _session(self, raw):
        raw.settimeout(PATIENCE)
        try:
            with Peer(self.kind, self.context.wrap_socket(raw, server_side=True)) as peer:
                self.serve(peer)
        except Exception as e:      # kept for the test to look at; the server goes on
            self.errors.append(e)
        finally:
            raw.close()

    def close(self):
        # shutdown() wakes the thread in accept(); close() alone would leave it there.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

"""Checks what the other integration tests lean on: the DER and ASN.1 of their own, the raw TLS
peers, the certificates, the DNS servers and the clock that moves."""

# builds: plain

import os
import socket
import ssl
import subprocess
import tempfile
import unittest

import certs
import der
import dns
import harness
import wire
from der import DerError

IDENTITY = bytes(range(16))


class Der(unittest.TestCase):
    def test_lengths(self):
        for n, octets in ((0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100"),
                          (65536, "83010000"), (1 << 28, "8410000000")):
            self.assertEqual(der.length(n).hex(), octets)

    def test_integers(self):
        for n, octets in ((0, "00"), (1, "01"), (127, "7f"), (128, "0080"), (255, "00ff"),
                          (256, "0100"), (-1, "ff"), (-128, "80"), (-129, "ff7f"),
                          (1 << 63, "008000000000000000")):
            self.assertEqual(der.integer(n).hex(), octets)
            self.assertEqual(der.read_integer(bytes.fromhex(octets)), n)
        for octets in ("", "0000", "007f", "ffff", "ff80"):
            with self.assertRaises(DerError):
                der.read_integer(bytes.fromhex(octets))

    def test_tree_and_back(self):
        octets = bytes.fromhex("a10ea00ca00a8005616c696365810178")
        node = der.tree(octets)
        self.assertEqual(node, (0xa1, [(0xa0, [(0xa0, [(0x80, b"alice"), (0x81, b"x")])])]))
        self.assertEqual(der.build(node), octets)

    def test_refuses(self):
        for octets in ("", "30", "3080", "308101", "30810005", "3082007f", "0401", "1f8101",
                       "30030401", "0400ff"):
            with self.assertRaises(DerError, msg=octets):
                der.tree(bytes.fromhex(octets))


class Modules(unittest.TestCase):
    """The octets here are worked out by hand from X.690 and docs/asn1."""

    CASES = (
        ("IM2000-MSOAP", ("command", {"data": ("authenticate",
                                               {"account": "alice", "password": "x"})}),
         "a10ea00ca00a8005616c696365810178"),
        ("IM2000-MSOAP", ("command", {"data": ("submitChunk",
                                               {"isLast": True, "offset": 200, "data": b"hi"})}),
         "a10fa00da20b8001ff810200c882026869"),
        ("IM2000-MSRAP", ("command", {"data": ("silence", {"id": IDENTITY})}),
         "a116a014a1128010" + IDENTITY.hex()),
        ("IM2000-RNASP", ("response", {"abort": False, "status": "ok", "data": (
            "notify", {"results": ["accepted", "unverified"]}), "text": "é"}),
         "a216800100810100a20aa108a0060a01000a01058302c3a9"),
        ("IM2000-RNAQP", ("command", {"data": ("retrieveAndClear", {})}), "a104a002a100"),
        ("IM2000-MSOAP", ("command", {"data": ("submitReference", {
            "isLast": False, "offset": 0, "store": ("domain", ["b", "example"]),
            "id": IDENTITY})}),
         "a12ca02aa528800100810100a20ea10c0c01620c076578616d706c658310" + IDENTITY.hex()),
    )

    def test_known_octets(self):
        for module, value, octets in self.CASES:
            self.assertEqual(wire.MODULES.encode(module, "Pdu", value).hex(), octets)
            self.assertEqual(wire.MODULES.decode(module, "Pdu", bytes.fromhex(octets)), value)

    def test_truncated(self):
        for module, _, octets in self.CASES:
            whole = bytes.fromhex(octets)
            for n in range(len(whole)):
                with self.assertRaises((DerError, UnicodeDecodeError)):
                    wire.MODULES.decode(module, "Pdu", whole[:n])

    def test_unknown_elements(self):
        inner = der.context(0, b"alice", False) + der.context(1, b"x", False)
        more = der.context(5, b"new", False)
        pdu = der.context(1, der.context(0, der.context(0, inner + more)))
        self.assertEqual(wire.MODULES.decode("IM2000-MSOAP", "Pdu", pdu),
                         self.CASES[0][1])
        for wrong in (more + inner, inner + inner, der.context(1, b"x", False)):
            with self.assertRaises(DerError):
                wire.MODULES.decode("IM2000-MSOAP", "Pdu",
                                    der.context(1, der.context(0, der.context(0, wrong))))

    def test_every_type_is_read(self):
        known = wire.MODULES.modules
        self.assertEqual(len(known), 5)
        for name, (types, imports) in known.items():
            self.assertTrue(types, name)
            for imported, source in imports.items():
                self.assertIn(imported, known[source][0])

    def test_chunk_head(self):
        for size in (0, 1, 100, 128, 65536, 1 << 24):
            value = {"isLast": True, "offset": 65536, "data": bytes(size)}
            self.assertEqual(wire.chunk_head(65536, True, size) + bytes(size),
                             wire.frame(wire.command("msoap", "submitChunk", value)))


class Peers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.authority = certs.Authority(os.path.join(folder.name, "ca"))

    def serve(self, serve, cert):
        server = wire.Server("msrap", cert[0], cert[1], serve, ca=self.authority.ca)
        self.addCleanup(server.close)
        return server

    @staticmethod
    def echo(peer):
        """Answers each querySize with the length of the frame, until the client goes."""
        while True:
            try:
                octets = peer.read_frame()
            except wire.Closed:
                return
            peer.send_raw(wire.frame(wire.response(
                "msrap", "querySize", {"size": len(octets), "headers": 0})))

    def test_call_and_pipeline(self):
        server = self.serve(self.echo, self.authority.issue("a.example", usage="serverAuth"))
        with wire.Client("msrap", server.address, "a.example", self.authority.ca) as client:
            self.assertEqual(client.sock.version(), "TLSv1.3")
            self.assertEqual(client.sock.selected_alpn_protocol(), "im2000-msrap/1")
            self.assertEqual(client.call("querySize", id=IDENTITY).expect("ok").data["size"], 24)
            client.send("querySize", id=IDENTITY)
            client.send("querySize", id=IDENTITY)
            client.recv().expect("ok")
            with self.assertRaises(AssertionError):
                client.recv().expect("noSuchMessage")

    def test_certificates(self):
        other = certs.Authority(self.authority.folder + "-other")
        for cert, fails in (
                (self.authority.issue("a.example"), False),
                (self.authority.issue("b.example", "a.example", usage="serverAuth"), False),
                (self.authority.issue("b.example", usage="serverAuth"), True),
                (self.authority.issue("a.example", usage="clientAuth"), True),
                (self.authority.issue("a.example", end=-1), True),
                (self.authority.issue("a.example", start=1), True),
                (other.issue("a.example"), True)):
            server = self.serve(self.echo, cert)
            try:
                with wire.Client("msrap", server.address, "a.example", self.authority.ca) as c:
                    c.call("querySize", id=IDENTITY)
                    failed = False
            except ssl.SSLCertVerificationError:
                failed = True
            self.assertEqual(failed, fails, cert)

    def test_closed(self):
        server = self.serve(lambda peer: peer.send_raw(b"\0\0\1\0half"),
                            self.authority.issue("a.example"))
        with wire.Client("msrap", server.address, "a.example", self.authority.ca) as client:
            with self.assertRaises(wire.Closed):
                client.recv()


FAKE_DAEMON = """#!/usr/bin/python3
import os, signal, sys
if sys.argv[1] == "init":
    os.makedirs(sys.argv[2])
    open(sys.argv[2] + "/store.conf", "w").write("data = data\\n")
    sys.exit()
if sys.argv[1] == "check":
    sys.exit()
mode = open(os.path.dirname(sys.argv[3]) + "/mode").read()
signal.signal(signal.SIGTERM, lambda *_: os._exit(3 if mode == "status" else 0))
if mode == "mute":
    sys.exit("cannot start")
if mode == "sanitizer":
    sys.stderr.write("x.c:1: runtime error: signed integer overflow\\n")
    sys.stderr.flush()
print("ready msoap=127.0.0.1:1 msrap=[::1]:2", flush=True)
if mode == "gone":
    sys.exit(4)
signal.pause()
"""


class Daemons(unittest.TestCase):
    """A daemon that does not behave fails the test that started it."""

    def setUp(self):
        self.programs = tempfile.TemporaryDirectory()
        self.addCleanup(self.programs.cleanup)
        path = os.path.join(self.programs.name, "im2000-store")
        harness.write(path, FAKE_DAEMON)
        os.chmod(path, 0o755)
        self.addCleanup(setattr, harness, "BIN", harness.BIN)
        harness.BIN = self.programs.name
        self.site = harness.Site()

    def start(self, mode):
        store = self.site.store("a.example", start=False)
        harness.write(os.path.join(store.folder, "mode"), mode)
        return store.start()

    def test_good(self):
        store = self.start("good")
        self.assertEqual(store.address, {"msoap": ("127.0.0.1", 1), "msrap": ("::1", 2)})
        self.assertEqual(store.restart().settings["listen-msrap"], "[::1]:2")
        self.assertEqual(store.route("msrap"), "a.example msrap [::1]:2")
        self.assertTrue(store.running())
        store.kill()
        self.assertFalse(store.running())
        self.site.close()
        self.assertFalse(os.path.exists(self.site.folder))

    def test_bad(self):
        for mode, said in (("status", "ended with 3 after SIGTERM"), ("gone", "ended with 4 by"),
                           ("sanitizer", "a sanitizer's report")):
            store = self.start(mode)
            if mode == "gone":
                harness.wait_for("it is gone", lambda: not store.running())
            with self.assertRaisesRegex(harness.Failed, said):
                self.site.close()
            self.site = harness.Site()
        self.site.close()

    def test_never_ready(self):
        with self.assertRaisesRegex(harness.Failed, "instead of ready.*\n.*cannot start"):
            self.start("mute")
        self.site.close()


class Dns(unittest.TestCase):
    def test_answers(self):
        with tempfile.TemporaryDirectory() as folder:
            server = dns.Server(folder, {
                "example": dns.zone("example", "_im2000-msrap._tcp.a IN SRV 0 0 4402 here.a\n"
                                    "here.a IN A 127.0.0.1"),
                "broken.test": None})
            try:
                srv = 33
                name = "_im2000-msrap._tcp.a.example"
                self.assertEqual(dns.ask(server.port, name, srv), 0)
                self.assertEqual(dns.ask(server.port, "b.example", srv), 3)
                self.assertEqual(dns.ask(server.port, "x.broken.test", srv), 2)
                server.change("example", dns.zone("example", ""))
                self.assertEqual(dns.ask(server.port, name, srv), 3)
            finally:
                server.stop()
            self.assertIsNone(dns.ask(server.port, name, srv, timeout=0.2))

    def test_silent(self):
        silent = dns.Silent()
        port = int(silent.address.partition(":")[2])
        self.assertIsNone(dns.ask(port, "a.example", timeout=0.2))
        silent.stop()


class Helpers(unittest.TestCase):
    def test_clock(self):
        with tempfile.TemporaryDirectory() as folder:
            clock = harness.Clock(folder)
            clock.move(3 * 86400)
            clock.move(3600)

            def now():
                return int(subprocess.run(["date", "+%s"], capture_output=True, check=True,
                                          env={**os.environ, **clock.environment()}).stdout)
            self.assertLess(abs(now() - clock.now()), 5)
            clock.move(-86400)
            self.assertLess(abs(now() - clock.now()), 5)

    def test_config(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.conf")
            harness.write(path, "# no = comment\n" + harness.config_text(
                {"domain": "a.example", "route": ["x msrap h:1", "y rnasp h:2"], "key": None}))
            self.assertEqual(harness.config_read(path), {
                "domain": ["a.example"], "route": ["x msrap h:1", "y rnasp h:2"]})

    def test_memory(self):
        found = harness.memory(os.getpid())
        self.assertGreater(found["VmRSS"], 1 << 20)
        self.assertGreaterEqual(found["VmHWM"], found["VmRSS"] // 2)

    def test_free_port(self):
        with socket.create_server(("127.0.0.1", harness.free_port())):
            pass


if __name__ == "__main__":
    harness.main()

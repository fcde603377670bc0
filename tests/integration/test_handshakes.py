"""Connections to both daemons that are no proper TLS, or never become any: each is refused in its
way, none is kept, and whoever comes next is served."""

# builds: plain asan

import os
import random
import socket
import ssl
import subprocess
import threading

import harness
import wire
from people import Case

ALERT, FATAL = 21, 2
DROPPED = 1000


class Handshakes(Case):
    def setUp(self):
        super().setUp()
        self.a = self.site.store("a.example", sessions_per_address="1000000")
        self.b = self.site.notify("b.example", sessions_per_address="1000000")

    def each(self):
        yield self.a, "msoap"
        yield self.b, "rnasp"

    def descriptors(self, daemon):
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    def serves(self, daemon, kind):
        """A proper client is answered."""
        with daemon.client(kind) as client:
            name = "authenticate" if kind == "msoap" else "notify"
            fields = {"account": "x", "password": "y"} if kind == "msoap" else {
                "notifications": []}
            client.send(name, fields)
            client.recv()

    def said(self, daemon, kind, octets):
        """All that DAEMON says to OCTETS that are no handshake."""
        with socket.create_connection(daemon.address[kind], harness.PATIENCE) as sock:
            sock.settimeout(harness.PATIENCE)
            sock.sendall(octets)
            got = b""
            try:
                while part := sock.recv(4096):
                    got += part
            except ConnectionError:
                pass
            return got

    def test_octets_that_are_no_tls(self):
        some = random.Random(1)
        for daemon, kind in self.each():
            for octets in (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"EHLO a.example\r\n",
                           wire.frame(wire.command("msoap", "authenticate", account="alice",
                                                   password="x")),
                           b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x80\x2e\x01\x00\x02" * 20,
                           b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff", some.randbytes(3000),
                           b"\x17\x03\x03\x00\x05hello", b"\x15\x03\x03\x00\x02\x02\x28"):
                got = self.said(daemon, kind, octets)
                # At most an alert, which says no more than that.
                self.assertLessEqual(len(got), 7, got)
                self.assertIn(got[:1], (b"", bytes([ALERT])))
            self.serves(daemon, kind)

    def test_clients_that_are_refused(self):
        for daemon, kind in self.each():
            for change, words in (
                    ({"maximum_version": ssl.TLSVersion.TLSv1_2,
                      "minimum_version": ssl.TLSVersion.TLSv1_2}, "protocol version"),
                    ({"protocols": ["h2", "im2000-msoap/2", "im2000-rnasp"]},
                     "no application protocol"),
                    ({"protocols": []}, "no application protocol")):
                protocols = change.pop("protocols", [wire.alpn(kind)])
                context = wire.client_context(self.site.authority.ca)
                for name, value in sorted(change.items(), reverse=True):
                    setattr(context, name, value)
                if protocols:
                    context.set_alpn_protocols(protocols)
                with socket.create_connection(daemon.address[kind], harness.PATIENCE) as sock:
                    with self.assertRaisesRegex(ssl.SSLError, words):
                        context.wrap_socket(sock, server_hostname=daemon.domain)
            self.serves(daemon, kind)

    def test_without_a_name(self):
        """No SNI: the first certificate, and what follows is as ever."""
        for daemon, kind in self.each():
            context = wire.client_context()
            context.set_alpn_protocols([wire.alpn(kind)])
            with socket.create_connection(daemon.address[kind], harness.PATIENCE) as sock:
                with context.wrap_socket(sock) as tls:
                    self.assertEqual(tls.selected_alpn_protocol(), wire.alpn(kind))

    def test_large_client_chains(self):
        """More than a chain can be is refused; much is looked at, and proves nothing."""
        cert, key = self.site.authority.issue("a.example")
        with open(cert, encoding="ascii") as file:
            own = file.read()
        with open(self.site.authority.ca, encoding="ascii") as file:
            other = file.read()
        path = os.path.join(self.site.folder, "chain.pem")
        for n, taken in ((50, True), (1000, False)):
            with open(path, "w", encoding="ascii") as file:
                file.write(own + other * n)
            try:
                with self.b.client("rnasp", cert=path, key=key) as client:
                    client.call("notify", notifications=[]).expect("ok")
                done = True
            except (OSError, wire.Closed):
                done = False
            self.assertEqual(done, taken, n)
            self.serves(self.b, "rnasp")

    def test_dropped_handshakes(self):
        """A thousand, at any point of the handshake: no descriptor is lost."""
        hello = self.hello()
        for daemon, kind in self.each():
            self.serves(daemon, kind)
            before = self.descriptors(daemon)
            address = daemon.address[kind]
            some = random.Random(2)

            def drop(count):
                for _ in range(count):
                    with socket.create_connection(address, harness.PATIENCE) as sock:
                        how = some.randrange(4)
                        if how > 0:
                            sock.sendall(hello[:some.randrange(1, len(hello) + 1)])
                        if how == 2:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                            b"\1\0\0\0\0\0\0\0")    # a reset
                        if how == 3:
                            sock.shutdown(socket.SHUT_WR)

            threads = [threading.Thread(target=drop, args=(DROPPED // 4,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.serves(daemon, kind)
            harness.wait_for("all are closed", lambda: self.descriptors(daemon) <= before)

    def hello(self):
        """A client's first flight."""
        context = wire.client_context()
        context.set_alpn_protocols([wire.alpn("msoap"), wire.alpn("rnasp")])
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        return out.read()

    def test_renegotiation_and_key_updates(self):
        """What s_client makes of R (there is none in TLS 1.3) and of a hundred key updates."""
        for daemon, kind in self.each():
            host, port = daemon.address[kind]
            for letter, ends in (("R", True), ("K", False)):
                with subprocess.Popen(
                        ["openssl", "s_client", "-connect", f"{host}:{port}", "-alpn",
                         wire.alpn(kind), "-servername", daemon.domain],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT) as process:
                    out, _ = process.communicate((letter + "\n").encode() * 100,
                                                 timeout=harness.PATIENCE)
                self.assertIn(b"TLSv1.3", out)
                self.assertIn(b"RENEGOTIATING" if ends else b"KEYUPDATE", out)
            self.serves(daemon, kind)


if __name__ == "__main__":
    harness.main()

"""TLS early data: im2000's second connection says all it wants in its first flight, and whoever
sends such a flight again gets nothing done."""

# builds: plain asan

import os
import socket
import stat
import threading

import harness
from people import MESSAGE, Case

COUNTED = ("authenticate", "submitEnvelope", "submitChunk", "retrieve", "silence")


class Wire:
    """Stands before a daemon's port. Keeps what each client says up to the server's first octet
    (`flights`). `hold`: from the server's first octets on, what the client says is kept back.
    `cut`: the next client hears nothing of its answers, until the connection ends by `ended`."""

    def __init__(self, address):
        self.address = address
        self.hold = self.cut = False
        self.ended = threading.Event()
        self.flights = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = []
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(near,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def serve(self, near):
        far = socket.create_connection(self.address)
        hold, cut, self.cut = self.hold, self.cut, False
        flight = bytearray()
        answered = threading.Event()

        def back():
            while octets := receive(far):
                answered.set()
                if cut:
                    self.ended.wait(harness.PATIENCE)
                    break
                try:
                    near.sendall(octets)
                except OSError:
                    break
            for end in (near, far):
                shut(end)

        thread = threading.Thread(target=back, daemon=True)
        thread.start()
        while octets := receive(near):
            if not answered.is_set():
                flight += octets
            elif hold:
                continue
            try:
                far.sendall(octets)
            except OSError:
                break
        shut(far)
        thread.join()
        near.close()
        far.close()
        self.flights.append(bytes(flight))

    def last(self, n):
        """The last flight, once there are N."""
        harness.wait_for("the connection is over", lambda: len(self.flights) == n)
        return self.flights[-1]

    def close(self):
        shut(self.listener)
        self.listener.close()
        self.accepting.join()
        for thread in self.threads:
            thread.join()


def receive(end):
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def shut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Early(Case):
    def setUp(self):
        super().setUp()
        self.b = self.site.notify("b.example", metrics="127.0.0.1:0")
        self.b.mailbox("bob")
        self.a = self.site.store("a.example", metrics="127.0.0.1:0")
        self.a.account("alice")
        self.alice = self.site.person("alice", store=self.a)
        self.bob = self.site.person("bob", notify=self.b)

    def wire(self, person, daemon, kind):
        """PERSON reaches KIND of DAEMON through it."""
        wire = Wire(daemon.address[kind])
        self.addCleanup(wire.close)
        routes = [r for r in person.settings.get("route") or self.site.routes()
                  if r.split()[:2] != [daemon.domain, kind]]
        person.set(route=routes + [f"{daemon.domain} {kind} 127.0.0.1:{wire.port}"])
        return wire

    def done(self, daemon):
        """How many commands of each kind were done, by kind, and how many sessions there were."""
        counts = {}
        for key, value in daemon.metrics().items():
            for kind in COUNTED:
                if key.startswith("im2000_commands_total") and f'kind="{kind}"' in key:
                    counts[kind] = counts.get(kind, 0) + value
        return counts

    def replay(self, daemon, kind, flight):
        """FLIGHT again, to either worker: nothing is done that was not done before."""
        before = self.done(daemon)
        for _ in range(6):
            with socket.create_connection(daemon.address[kind], harness.PATIENCE) as sock:
                sock.sendall(flight)
                sock.settimeout(harness.PATIENCE)
                self.assertTrue(sock.recv(1 << 16))     # its side of a handshake
                sock.shutdown(socket.SHUT_WR)
                while receive(sock):
                    pass
        self.assertEqual(self.done(daemon), before)

    def test_submission(self):
        """One flight is enough for login, envelope and octets; once."""
        wire = self.wire(self.alice, self.a, "msoap")
        self.send("first")
        self.assertLess(len(wire.last(1)), 2000)        # a hello
        tickets = os.path.join(self.alice.settings["data"], "tickets")
        self.assertEqual(stat.S_IMODE(os.stat(tickets).st_mode), 0o600)
        wire.hold = True
        self.send("second")
        wire.hold = False
        flight = wire.last(2)
        self.assertEqual(self.done(self.a)["submitChunk"], 2)
        self.replay(self.a, "msoap", flight)
        self.a.reload()                                 # other keys for tickets
        self.replay(self.a, "msoap", flight)
        self.a.restart()
        self.replay(self.a, "msoap", flight)
        self.assertEqual(self.done(self.a), {})
        self.send("third")                              # by a ticket that opens nothing any more
        with self.a.originator("alice") as client:
            listed = client.call("archive", after=0).expect("ok").data
        self.assertEqual(len(listed["messages"]), 3, listed)

    def test_reading(self):
        """The list and a message, each by one flight; the sender's store notes one reader."""
        lists = self.wire(self.bob, self.b, "rnaqp")
        pulls = self.wire(self.bob, self.a, "msrap")
        self.arrived("first")
        self.bob.run("list")
        self.bob.run("read", "1")
        self.arrived("second")
        self.bob.run("list")        # it asks until there is no more
        n = len(lists.flights)
        lists.hold = True
        records = self.bob.json("list")
        lists.hold = False
        self.assertEqual([r["subject"] for r in records], ["first", "second"])
        self.replay(self.b, "rnaqp", lists.last(n + 1))
        pulls.hold = True
        self.assertIn("Hello Bob.", self.bob.run("read", "2").stdout)
        pulls.hold = False
        self.replay(self.a, "msrap", pulls.last(2))

    def test_lost_answer(self):
        """A flight whose answer is lost is said again by its client: the message is there once."""
        wire = self.wire(self.alice, self.a, "msoap")
        self.send("first")
        wire.last(1)
        wire.cut = True

        def end():
            harness.wait_for("it is stored", lambda: self.done(self.a)["submitChunk"] == 2)
            wire.ended.set()

        ending = threading.Thread(target=end)
        ending.start()
        self.alice.run("send", stdin=MESSAGE.format("second"), status=75)
        ending.join()
        self.replay(self.a, "msoap", wire.last(2))
        self.send("second")
        self.assertEqual(self.done(self.a)["submitChunk"], 2)
        with self.a.originator("alice") as client:
            listed = client.call("archive", after=0).expect("ok").data
        self.assertEqual(len(listed["messages"]), 2, listed)

    def test_turned_off(self):
        """At either end: the flight is a hello, and all works as before."""
        wire = self.wire(self.alice, self.a, "msoap")
        self.alice.set(early_data="no")
        self.send()
        self.assertFalse(os.path.exists(os.path.join(self.alice.settings["data"], "tickets")))
        self.alice.set(early_data="yes")
        self.a.set(early_data="no")
        self.a.restart()
        wire.address = self.a.address["msoap"]
        for n in range(2):
            self.send("x" * 1000)
            self.assertLess(len(wire.last(2 + n)), 1000)


if __name__ == "__main__":
    harness.main()

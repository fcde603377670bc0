"""The limits of docs/protocol.md, section 6, as the configuration sets them: what is at a limit
passes, one more does not. And where a store never connects, whatever DNS says."""

# builds: plain asan
# time-limit: 300

import os
import socket
import threading

import dns
import harness
import submissions
import wire
from submissions import deliveries, envelope, message, submit

FRAME = 4096
ENVELOPE = 9000


def padded(size, kind, make):
    """The PDU of SIZE octets that MAKE(n) gives, n being the length of something in it."""
    n = 1
    while True:
        pdu = wire.command(kind, *make(n))
        if len(pdu) == size:
            return pdu
        if len(pdu) > size:
            raise AssertionError(f"{len(pdu)} octets, not {size}")
        n += max(1, (size - len(pdu)) // 2)


def call_octets(client, pdu):
    client.send_raw(wire.frame(pdu))
    return client.recv()


class Case(submissions.Msoap):
    """A store and an agent with low limits, as far as SETTINGS say."""

    def sessions(self, daemon, kind, most, **settings):
        """MOST at once, no matter which protocol; one that ends makes room."""
        daemon.set(**settings)
        daemon.restart()
        clients = [daemon.client(kind) for _ in range(most)]
        for client in clients:
            self.assertTrue(self.answers(client))
        self.assertFalse(self.gets_in(daemon, kind))
        clients.pop().close()
        harness.wait_for("another gets in", lambda: self.gets_in(daemon, kind))
        for client in clients:
            self.assertTrue(self.answers(client))
            client.close()

    @staticmethod
    def answers(client):
        name = {"msrap": "querySize", "rnasp": "withdraw"}.get(client.kind, "authenticate")
        fields = {"msrap": {"id": bytes(16)}, "rnasp": {"notifications": []}}.get(
            client.kind, {"account": "nobody@b.example", "password": "imt_" + "x" * 43})
        return client.call(name, fields).status is not None

    def gets_in(self, daemon, kind):
        try:
            with daemon.client(kind) as client:
                return self.answers(client)
        except (OSError, wire.Closed):
            return False

    def too_big(self, daemon, kind, make):
        """A command of FRAME octets is answered, one of an octet more is not taken."""
        with daemon.client(kind) as client:
            done = call_octets(client, padded(FRAME, kind, make))
            self.assertNotEqual(done.status, "tooBig")
            call_octets(client, padded(FRAME + 1, kind, make)).expect("tooBig", abort=True)
            self.assertTrue(client.closed())

    def failures(self, daemon, kind, account):
        """login-failures = 2: the third may not even be right."""
        with daemon.client(kind) as client:
            for _ in range(2):
                client.call("authenticate", account=account, password="no").expect(
                    "notAuthenticated")
            client.call("authenticate", account=account, password="secret").expect("tryLater")

    def timeouts(self, daemon, kind):
        """A session that has said nothing, and one that says nothing more."""
        with daemon.client(kind) as silent, daemon.client(kind) as idle:
            self.assertTrue(self.answers(idle))
            for client in silent, idle:
                client.recv().expect("commandTimeout", abort=True)
                self.assertTrue(client.closed())

    def buffered(self, daemon, kind, fields):
        """Answers that nobody reads are not collected without end: TCP holds the client back."""
        client = daemon.client(kind, patience=2)
        self.addCleanup(client.close)
        many = wire.frame(wire.command(kind, *fields)) * 1000
        before, sent = daemon.memory()["VmRSS"], 0
        with self.assertRaises(TimeoutError):
            for _ in range(10000):
                client.send_raw(many)
                sent += len(many)
        if harness.sanitizer() == "plain":
            self.assertLess(daemon.memory()["VmRSS"] - before, 8 << 20, sent)
        # Nobody else is held up.
        self.assertTrue(self.gets_in(daemon, kind))


class Store(Case):
    def start(self, **settings):
        self.store = self.site.store("a.example", **settings)
        self.store.account("alice")

    def test_commands(self):
        self.start(max_command=FRAME, max_envelope=ENVELOPE)
        self.too_big(self.store, "msoap", lambda n: (
            "authenticate", {"account": "alice", "password": "x" * n}))
        self.too_big(self.store, "msrap", lambda n: ("retrieve", {
            "id": bytes(16), "type": "part", "offset": 0, "length": 0, "section": "1" * n}))

    def test_envelopes(self):
        self.start(max_command=FRAME, max_envelope=ENVELOPE)
        def pdu(size, name, **more):
            """Names of 60 octets, and two shorter ones to fill it up."""
            for full in range(size // 70, 0, -1):
                for short in range(2, 121):
                    lengths = [60] * full + [short // 2, short - short // 2]
                    names = [f"{i:0{n}d}@b.example"[-n - 10:] for i, n in enumerate(lengths)]
                    octets = wire.command("msoap", name, recipients=submissions.mailboxes(*names),
                                          **more)
                    if len(octets) == size:
                        return octets
                    if len(octets) > size or len(octets) < size - 120:
                        break
            raise AssertionError("it cannot be made")

        with self.store.originator("alice") as client:
            sent = submit(client, message("one"), "bob@b.example", hold=True)["id"]
            for name, more in (("submitEnvelope", {"lifetime": 0, "hold": True}),
                               ("readdress", {"id": sent})):
                call_octets(client, pdu(ENVELOPE, name, **more)).expect("ok")
        for name, more in (("submitEnvelope", {"lifetime": 0}), ("readdress", {"id": sent})):
            with self.store.originator("alice") as client:
                call_octets(client, pdu(ENVELOPE + 1, name, **more)).expect("tooBig", abort=True)
                self.assertTrue(client.closed())

    def test_message(self):
        self.start(max_message="5K")
        most = 5 * 1024
        with self.store.originator("alice") as client:
            submit(client, message("fits", most), "bob@b.example", hold=True)
            envelope(client, "bob@b.example", size=most + 1)
            client.recv().expect("tooBig", abort=True)
            for parts in ((most,), (most + 1,), (most, 1)):
                octets, at = message("unsaid", sum(parts)), 0
                envelope(client, "bob@b.example", hold=True)
                client.recv().expect("ok")
                for i, n in enumerate(parts):
                    done = client.call("submitChunk", isLast=i + 1 == len(parts), offset=at,
                                       data=octets[at:at + n])
                    at += n
                done.expect("ok" if at == most else "tooBig", abort=at != most)
        self.assertEqual(len(self.kept()), 2)

    def kept(self):
        with self.store.originator("alice") as client:
            return submissions.archive(client)

    def test_recipients(self):
        self.start(max_recipients=3)
        names = [f"r{i}@b.example" for i in range(4)]
        with self.store.originator("alice") as client:
            for most in 3, 4:
                done = submit(client, message("many"), *names[:most], hold=True)
                self.assertEqual(done["recipients"],
                                 ["acceptable"] * 3 + ["tooMany"] * (most - 3))
                self.assertEqual(len(deliveries(client, done["id"])), 3)
            more = [f"s{i}@b.example" for i in range(4)]
            done = client.call("readdress", id=done["id"],
                               recipients=submissions.mailboxes(*more)).expect("ok").data
            self.assertEqual(done["recipients"], ["acceptable"] * 3 + ["tooMany"])

    def test_sessions(self):
        self.start()
        self.sessions(self.store, "msoap", 3, sessions=3)
        self.sessions(self.store, "msrap", 2, sessions=100, sessions_per_address=2)

    def test_times(self):
        self.start(idle_time="3s", first_command_time="3s", wait_time="1s", login_failures=2)
        self.timeouts(self.store, "msrap")
        with self.store.originator("alice") as client:
            done = client.call("watch", after=0, wait=36000).expect("ok").data
            self.assertEqual(done, {"changes": [], "next": 0})
        self.failures(self.store, "msoap", "eve")

    def test_buffered(self):
        self.start()
        self.buffered(self.store, "msrap", ("querySize", {"id": bytes(16)}))


class Notify(Case):
    def start(self, **settings):
        self.agent = self.site.notify("b.example", **settings)
        self.agent.mailbox("bob")
        self.cert = self.site.authority.issue("a.example", "c.example", usage="serverAuth")

    def peer(self):
        return self.agent.client("rnasp", cert=self.cert[0], key=self.cert[1])

    @staticmethod
    def note(sender="alice@a.example", **more):
        return wire.notification("a.example", "bob@b.example", os.urandom(16), sender, **more)

    def results(self, client, *notes):
        done = client.call("notify", notifications=list(notes))
        return done.data["results"] if done.status == "ok" else done.status

    def test_commands(self):
        self.start(max_command=FRAME)
        self.too_big(self.agent, "rnaqp", lambda n: (
            "authenticate", {"account": "bob@b.example", "password": "x" * n}))
        self.too_big(self.agent, "rnasp", lambda n: (
            "notify", {"notifications": [self.note(header=b"x" * 1200) for _ in range(2)]
                       + [self.note(header=b"x" * n)]}))

    def test_count(self):
        self.start(max_notifications=3)
        with self.peer() as client:
            self.assertEqual(self.results(client, *(self.note() for _ in range(3))),
                             ["accepted"] * 3)
            one = {"recipient": wire.mailbox("bob@b.example"), "id": bytes(16)}
            client.call("withdraw", notifications=[one] * 3).expect("ok")
        for name, what in ("notify", [self.note() for _ in range(4)]), ("withdraw", [one] * 4):
            with self.peer() as client:
                client.call(name, notifications=what).expect("tooBig", abort=True)
        with self.agent.reader("bob") as reader:
            found = reader.call("retrieve", after=0).expect("ok").data["notifications"]
            self.assertEqual(len(found), 3)

    def test_default_count(self):
        self.start()
        with self.peer() as client:
            self.assertEqual(self.results(client, *(self.note() for _ in range(256))),
                             ["accepted"] * 256)
        with self.peer() as client:
            self.assertEqual(self.results(client, *(self.note() for _ in range(257))), "tooBig")

    def test_notification(self):
        self.start(max_notification=700)
        encode = wire.MODULES.encode
        with self.peer() as client:
            for size, wanted in (700, "accepted"), (701, "refused"):
                for n in range(700):
                    note = self.note(header=b"x" * n)
                    octets = encode("IM2000-Common", "Notification", note)
                    if len(octets) == size:
                        break
                self.assertEqual(len(octets), size)
                self.assertEqual(self.results(client, note), [wanted])

    def test_kept(self):
        self.start(mailbox_notifications=5, origin_notifications=3)
        with self.peer() as client:
            self.assertEqual(self.results(client, *(self.note() for _ in range(4))),
                             ["accepted"] * 3 + ["full"])
            other = [self.note("carol@c.example") for _ in range(3)]
            self.assertEqual(self.results(client, *other), ["accepted"] * 2 + ["full"])

    def test_rate(self):
        self.start(origin_rate=6)
        with self.peer() as client:
            self.assertEqual(self.results(client, *(self.note() for _ in range(6))),
                             ["accepted"] * 6)
            # What is a little over the minute is let through, and no more.
            self.results(client, *(self.note() for _ in range(6)))
            self.assertEqual(self.results(client, self.note()), "tryLater")
            self.assertEqual(self.results(client, self.note("carol@c.example")), ["accepted"])

    def test_sessions(self):
        self.start()
        self.sessions(self.agent, "rnasp", 3, sessions=3)
        self.sessions(self.agent, "rnaqp", 2, sessions=100, sessions_per_address=2)

    def test_times(self):
        self.start(idle_time="3s", first_command_time="3s", wait_time="1s", login_failures=2)
        self.timeouts(self.agent, "rnasp")
        with self.agent.reader("bob") as reader:
            done = reader.call("retrieve", after=0, wait=36000).expect("ok").data
            self.assertEqual(done["notifications"], [])
        self.failures(self.agent, "rnaqp", "eve@b.example")
        # The address may do no more, either.
        with self.agent.client("rnaqp") as client:
            client.call("authenticate", account="nobody@b.example", password="?").expect("tryLater")

    def test_buffered(self):
        self.start()
        self.buffered(self.agent, "rnasp", ("withdraw", {"notifications": []}))


class Private(submissions.Msoap):
    """Where DNS may not lead a store, unless `allow-private` says so."""

    V4 = ("127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1",
          "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
          "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255")
    V6 = ("::1", "::", "fe80::1", "febf::1", "fc00::1", "fdff::1", "ff02::1", "ff0e::1",
          "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:192.168.0.1", "::ffff:169.254.1.1",
          "::ffff:0.0.0.0", "64:ff9b::7f00:1", "2002:7f00:1::1")

    def setUp(self):
        super().setUp()
        self.seen = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listeners = [self.listener]
        port = self.listener.getsockname()[1]
        try:
            self.listeners.append(socket.create_server(("::1", port), family=socket.AF_INET6))
        except OSError:
            pass    # no IPv6 here, or the port is taken there
        for listener in self.listeners:
            self.addCleanup(listener.close)
            threading.Thread(target=self.watch, args=(listener,), daemon=True).start()
        records, self.domains = [], []
        for i, address in enumerate((*self.V4, *self.V6)):
            kind = "AAAA" if ":" in address else "A"
            records += [f"_im2000-rnasp._tcp.p{i} IN SRV 0 0 {port} host.p{i}",
                        f"host.p{i} IN {kind} {address}"]
            self.domains.append(f"p{i}.example")
        self.dns = self.site.dns({"example": dns.zone("example", "\n".join(records))})

    def watch(self, listener):
        while True:
            try:
                peer, address = listener.accept()
            except OSError:
                return
            self.seen.append(address)
            peer.close()

    def deliver(self, **settings):
        """{address: (status, text)} of a message to all of them."""
        store = self.site.store("a.example", dns_server=self.dns.address, **settings)
        store.account("alice")
        with store.originator("alice") as client:
            sent = submit(client, message("hello"), *(f"x@{d}" for d in self.domains))["id"]

            def settled():
                found = deliveries(client, sent)
                return all(d["notification"] != "unprocessed" for d in found.values()) and found
            found = harness.wait_for("all were tried", settled)
        return {address: found[f"x@{domain}"] for domain, address in
                zip(self.domains, (*self.V4, *self.V6))}

    def test_never(self):
        for address, delivery in self.deliver(allow_private="no").items():
            with self.subTest(address):
                self.assertEqual(delivery["notification"], "noServer")
                self.assertIn("private address", delivery["text"])
        self.assertEqual(self.seen, [])

    def test_allowed(self):
        found = self.deliver(allow_private="yes")
        self.assertNotIn("private address", found["127.0.0.1"].get("text", ""))
        self.assertTrue(self.seen)


if __name__ == "__main__":
    harness.main()

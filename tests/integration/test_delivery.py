"""From the store to the agent: who is believed, what is retried, how services are found."""

import ssl
import time

import certs
import dns
import harness
import wire

MESSAGE = b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: %b\r\n\r\nHello.\r\n"


def submit(client, *recipients, sender=None, subject=b"Hello"):
    """Submits a message; the originator's id."""
    fields = {"recipients": [wire.mailbox(r) for r in recipients], "lifetime": 0}
    if sender:
        fields["sender"] = wire.mailbox(sender)
    done = client.call("submitEnvelope", fields).expect("ok")
    client.call("submitChunk", isLast=True, offset=0, data=MESSAGE % subject).expect("ok")
    return done.data["id"]


def deliveries(client, message):
    """{recipient: Delivery} of a message."""
    done = client.call("track", id=message).expect("ok")
    return {wire.mailbox_text(d["recipient"]): d for d in done.data["deliveries"]}


def settled(client, message):
    """The same, once no delivery is unprocessed any more."""
    def look():
        found = deliveries(client, message)
        return all(d["notification"] != "unprocessed" for d in found.values()) and found
    return harness.wait_for("every recipient's agent was tried", look)


class Delivery(harness.TestCase):
    def agent(self, domain="b.example", **settings):
        notify = self.site.notify(domain, **settings)
        notify.mailbox("bob")
        return notify

    def sender(self, **settings):
        store = self.site.store("a.example", **settings)
        store.account("alice")
        return store

    def status(self, store, recipient="bob@b.example", **more):
        """What becomes of a message to RECIPIENT."""
        with store.originator("alice") as client:
            return settled(client, submit(client, recipient, **more))[recipient]


class Certificates(Delivery):
    """A wrong certificate at each place where one is shown."""

    def wrong(self):
        """Certificates that prove nothing for a.example or b.example, by what is wrong."""
        other = certs.Authority(self.site.folder + "/other-ca")
        return {
            "another name": self.site.authority.issue("c.example", usage="serverAuth"),
            "over": self.site.authority.issue("a.example", "b.example", usage="serverAuth",
                                              start=-10, end=-1),
            "another authority": other.issue("a.example", "b.example", usage="serverAuth"),
        }

    def use(self, daemon, cert):
        daemon.set(certificate=cert[0], key=cert[1])

    def test_store_as_client(self):
        """What the store shows to the agent: unproved senders are refused."""
        agent = self.agent()
        store = self.sender()
        self.assertEqual(self.status(store)["notification"], "notifying")
        for what, cert in self.wrong().items():
            with self.subTest(what):
                raw = wire.Client("rnasp", agent.address["rnasp"], "b.example",
                                  self.site.authority.ca, *cert)
                with raw:
                    note = wire.notification("a.example", "bob@b.example", bytes(16),
                                             "alice@a.example")
                    done = raw.call("notify", notifications=[note]).expect("ok")
                    self.assertEqual(done.data["results"], ["unverified"])

    def test_agent_as_server(self):
        """What the agent shows to the store: it is not talked to."""
        agent = self.agent()
        store = self.sender()
        right = agent.settings["certificate"], agent.settings["key"]
        for what, cert in self.wrong().items():
            with self.subTest(what):
                # A stand-in, so that it can be seen that nothing is said to it.
                served = []
                server = wire.Server("rnasp", *cert, lambda peer: served.append(peer.read_frame()))
                self.site.others.append(server)
                store.set(route=[f"b.example rnasp {harness.endpoint(server.address)}"])
                store.restart()
                found = self.status(store)
                self.assertEqual(found["notification"], "protocolError")
                self.assertEqual(served, [])
                self.assertTrue(found["text"])
        store.set(route=self.site.routes())
        store.restart()
        self.use(agent, right)
        self.assertEqual(self.status(store)["notification"], "notifying")

    def test_check_says_it(self):
        """`run --check` tells that a certificate is for another domain; `run` only warns."""
        agent, store = self.agent(), self.sender()
        cert = self.site.authority.issue("c.example", usage="serverAuth")
        for daemon in agent, store:
            self.use(daemon, cert)
            daemon.restart()
            self.assertIn("cover", daemon.log())
            done = self.site.run(daemon.program, "run", "-c", daemon.conf, "--check", status=1)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(daemon.domain, done.stderr)
            with self.assertRaises(ssl.SSLCertVerificationError):
                daemon.client(daemon.serves[0])

    def test_only_server_usage(self):
        """A certificate whose only extended key usage is serverAuth proves the store."""
        self.agent()
        store = self.sender()
        cert = self.site.authority.issue("a.example", usage="serverAuth")
        self.use(store, cert)
        store.restart()
        self.assertEqual(self.status(store)["notification"], "notifying")


class Senders(Delivery):
    def test_sender_of_another_domain(self):
        """A store that lets its account send for a domain that is not its own."""
        self.agent()
        store = self.sender()
        store.account("mallory", "mallory@c.example")
        with store.originator("mallory") as client:
            message = submit(client, "bob@b.example", sender="mallory@c.example")
            found = settled(client, message)["bob@b.example"]
        self.assertEqual(found["notification"], "refused")
        self.assertIn("verified", found["text"])

    def test_kept_unverified(self):
        agent = self.agent(unverified="keep")
        store = self.sender()
        store.account("mallory", "mallory@c.example")
        with store.originator("mallory") as client:
            message = submit(client, "bob@b.example", sender="mallory@c.example")
            self.assertEqual(settled(client, message)["bob@b.example"]["notification"],
                             "notifying")
        with agent.reader("bob") as reader:
            received, = reader.call("retrieve", after=0).expect("ok").data["notifications"]
            self.assertNotIn("verified", received)

    def test_verified_is_said(self):
        agent = self.agent()
        store = self.sender()
        self.status(store)
        with agent.reader("bob") as reader:
            received, = reader.call("retrieve", after=0).expect("ok").data["notifications"]
            self.assertEqual(received["verified"], ["a", "example"])
            self.assertEqual(received["notification"]["sender"], "alice@a.example")

    def test_unknown_user(self):
        self.agent()
        store = self.sender()
        with store.originator("alice") as client:
            message = submit(client, "bob@b.example", "nobody@b.example")
            found = settled(client, message)
        self.assertEqual(found["bob@b.example"]["notification"], "notifying")
        self.assertEqual(found["nobody@b.example"]["notification"], "noUser")


class Retries(Delivery):
    """The clock is moved, not waited for."""

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()

    def test_agent_down_for_a_while(self):
        agent = self.agent()
        store = self.sender()
        agent.stop()
        with store.originator("alice") as client:
            message = submit(client, "bob@b.example")
            found = settled(client, message)["bob@b.example"]
            self.assertEqual(found["notification"], "noServer")
            self.assertGreater(found["nextAttempt"], found["changed"])
            self.assertTrue(found["text"])
            first = found["attempts"]
            self.clock.move(90)         # one minute, up to 20 % more
            harness.wait_for("it was tried again", lambda: deliveries(client, message)[
                "bob@b.example"]["attempts"] > first)
            agent.start()
            self.clock.move(300)
            harness.wait_for("it was delivered", lambda: deliveries(client, message)[
                "bob@b.example"]["notification"] == "notifying")
        with agent.reader("bob") as reader:
            done = reader.call("retrieve", after=0).expect("ok")
            self.assertEqual(len(done.data["notifications"]), 1)

    def test_lifetime_ends(self):
        agent = self.agent()
        store = self.sender()
        agent.stop()
        with store.originator("alice") as client:
            message = submit(client, "bob@b.example")
            settled(client, message)
            self.clock.move(91 * 86400)
            client.close()
        with store.originator("alice") as client:
            found = harness.wait_for("it expired", lambda: deliveries(client, message)[
                "bob@b.example"]["notification"] == "expired" and deliveries(client, message))
        self.assertNotIn("nextAttempt", found["bob@b.example"])

    def test_repeated_until_silenced(self):
        agent = self.agent()
        store = self.sender()
        with store.originator("alice") as client:
            message = submit(client, "bob@b.example")
            settled(client, message)
            with agent.reader("bob") as reader:
                one, = reader.call("retrieve", after=0).expect("ok").data["notifications"]
            self.clock.move(86400 + 60)
            harness.wait_for("it was repeated", lambda: deliveries(client, message)[
                "bob@b.example"]["attempts"] >= 2)
            with agent.reader("bob") as reader:
                again, = reader.call("retrieve", after=0).expect("ok").data["notifications"]
                self.assertEqual(again["cursor"], one["cursor"])
                self.assertGreater(again["received"], one["received"])
            with store.client("msrap") as recipient:
                recipient.call("silence", id=one["notification"]["id"]).expect("ok")
            harness.wait_for("it is silenced", lambda: deliveries(client, message)[
                "bob@b.example"]["notification"] == "silenced")
            tries = deliveries(client, message)["bob@b.example"]["attempts"]
            self.clock.move(15 * 86400)
            time.sleep(2)               # more than the second after which the store looks
        with store.originator("alice") as client:
            found = deliveries(client, message)["bob@b.example"]
            self.assertEqual(found["attempts"], tries)
            self.assertNotIn("nextAttempt", found)


class Located(Delivery):
    """By DNS, with a real server."""

    def test_by_srv(self):
        agent = self.agent()
        port = agent.address["rnasp"][1]
        dead = harness.free_port()
        server = self.site.dns({"example": dns.zone("example", f"""
_im2000-rnasp._tcp.b SRV 10 0 {dead} here.example.
_im2000-rnasp._tcp.b SRV 20 0 {port} here.example.
_im2000-rnasp._tcp.none SRV 0 0 0 .
exists A 127.0.0.1
here A 127.0.0.1
""")})
        store = self.sender(route=None, dns_server=server.address)
        cases = {
            "bob@b.example": "notifying",           # the first in order is down
            "bob@none.example": "noService",
            "bob@exists.example": "noService",
            "bob@absent.example": "badDomain",
        }
        with store.originator("alice") as client:
            found = settled(client, submit(client, *cases))
        self.assertEqual({r: d["notification"] for r, d in found.items()}, cases)

    def test_server_that_never_answers(self):
        silent = dns.Silent()
        self.site.others.append(silent)
        store = self.sender(route=None, dns_server=silent.address)
        self.assertEqual(self.status(store)["notification"], "noServer")

    def test_private_addresses(self):
        agent = self.agent()
        port = agent.address["rnasp"][1]
        server = self.site.dns({"example": dns.zone("example", f"""
_im2000-rnasp._tcp.b SRV 0 0 {port} here.example.
here A 127.0.0.1
""")})
        store = self.sender(route=None, allow_private="no",
                            dns_server=server.address)
        found = self.status(store)
        self.assertEqual(found["notification"], "noServer")
        self.assertIn("private", found["text"])


if __name__ == "__main__":
    harness.main()

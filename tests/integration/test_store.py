"""The message store by itself: raw MSOAP and MSRAP sessions, and notification agents that do as
the test says. What a whole system does is in test_mail.py."""

# builds: plain asan

import hashlib
import os
import threading
import time
import unittest

import certs
import dns
import harness
import wire

BLOCK = 65536
MESSAGE = (b"From: Alice <alice@a.example>\r\nTo: bob@b.example\r\nSubject: Hello\r\n"
           b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nHow are you?\r\n")
DAY = 86400


def leaf(block):
    return hashlib.sha256(b"\0" + block).digest()


def root(leaves):
    """The digest of protocol.md section 7, by its definition."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return hashlib.sha256(b"\1" + root(leaves[:left]) + root(leaves[left:])).digest()


def digest(octets):
    return root([leaf(octets[i:i + BLOCK]) for i in range(0, len(octets), BLOCK)]
                or [leaf(b"")])


def envelope(*to, lifetime=0, **more):
    return {"recipients": [wire.mailbox(m) for m in to], "lifetime": lifetime, **more}


def submit(client, message, *to, **more):
    """Submits MESSAGE; the originator's id."""
    client.send("submitEnvelope", envelope(*to, **more))
    client.send("submitChunk", isLast=True, offset=0, data=message)
    answer = client.recv().expect("ok")
    client.recv().expect("ok")
    return answer.data["id"]


def server(site, domain, serve, cert=None):
    """A raw agent that does not ask the store for its certificate: Python would want it to be
    for clients, which the store's is not (protocol.md section 11)."""
    cert = cert or site.authority.issue(domain, usage="serverAuth")
    made = wire.Server("rnasp", cert[0], cert[1], serve)
    site.others.append(made)
    return made


class Agent:
    """A notification agent that does not take notifyMany (test_many.py has one that does): keeps
    what it is told, answers each notification as ANSWER says."""

    def __init__(self, site, domain, answer=lambda n: "accepted", cert=None):
        self.answer = answer
        self.told = []          # (command, its value), in order
        self.status = "ok"      # of whole commands
        self.server = server(site, domain, self.serve, cert)
        self.route = f"{domain} rnasp {harness.endpoint(self.server.address)}"

    def serve(self, peer):
        while True:
            try:
                _, value = wire.MODULES.decode("IM2000-RNASP", "Pdu", peer.read_frame())
            except wire.Closed:
                return
            name, data = value["data"]
            if name == "notifyMany":
                peer.send_raw(wire.frame(wire.response("rnasp", status="unsupported")))
                continue
            self.told.append((name, data["notifications"]))
            if self.status != "ok":
                answer = wire.response("rnasp", status=self.status, abort=True)
            elif name == "notify":
                answer = wire.response("rnasp", "notify", {"results": [
                    self.answer(n) for n in data["notifications"]]})
            else:
                answer = wire.response("rnasp", "withdraw")
            peer.send_raw(wire.frame(answer))

    def wait(self, n):
        """The first N commands, once they have come."""
        harness.wait_for(f"the agent is told {n} times", lambda: len(self.told) >= n)
        return self.told[:n]


class StoreCase(harness.TestCase):
    def start(self, *routes, **settings):
        self.store = self.site.store("a.example", route=list(routes), **settings)
        self.store.account("alice")
        return self.store

    def track(self, client, message_id):
        """{mailbox: delivery}"""
        found, after = {}, 0
        while True:
            done = client.call("track", id=message_id, after=after).expect("ok").data
            for d in done["deliveries"]:
                found[wire.mailbox_text(d["recipient"])] = d
            if "next" not in done:
                return found
            after = done["next"]

    def wait_status(self, client, message_id, **want):
        """Waits until each delivery, by local part, has the notification status wanted."""
        def there():
            now = {m.partition("@")[0]: d["notification"]
                   for m, d in self.track(client, message_id).items()}
            return all(now.get(k) == v for k, v in want.items())
        try:
            harness.wait_for("statuses are " + str(want), there)
        except harness.Failed as e:
            raise harness.Failed(f"{e}: {self.track(client, message_id)}") from None


class Sessions(StoreCase):
    """From the socket to the disk and back, nobody being notified."""

    def test_one_flight(self):
        """Everything in one write, before any answer: one round trip."""
        self.start()
        c = self.store.client("msoap")
        c.send_raw(b"".join(wire.frame(wire.command("msoap", *k)) for k in (
            ("authenticate", {"account": "alice", "password": "secret"}),
            ("submitEnvelope", envelope("bob@b.example")),
            ("submitChunk", {"isLast": True, "offset": 0, "data": MESSAGE}))))
        c.recv().expect("ok")
        own = c.recv().expect("ok").data["id"]
        done = c.recv().expect("ok").data
        self.assertEqual(done, {"received": len(MESSAGE), "digest": digest(MESSAGE)})
        r = self.store.client("msrap")
        got = r.call("retrieve", id=own, type="all", offset=0, length=0).expect("ok").data
        self.assertEqual(got, {"size": len(MESSAGE), "offset": 0, "data": MESSAGE})

    def test_slow(self):
        """Octet by octet, each in a TLS record of its own."""
        self.start()
        c = self.store.client("msoap")
        octets = b"".join(wire.frame(wire.command("msoap", *k)) for k in (
            ("authenticate", {"account": "alice", "password": "secret"}),
            ("submitEnvelope", envelope("bob@b.example")),
            ("submitChunk", {"isLast": True, "offset": 0, "data": MESSAGE})))
        for i in range(len(octets)):
            c.send_raw(octets[i:i + 1])
        for _ in range(3):
            c.recv().expect("ok")

    def test_login(self):
        self.start(login_failures="100")
        c = self.store.client("msoap")
        for account, password in (("alice", "wrong"), ("nobody", "secret"), ("alice", "")):
            c.call("authenticate", account=account, password=password).expect(
                "notAuthenticated", abort=False)
        c.call("submitEnvelope", envelope("bob@b.example")).expect("notAuthenticated", abort=True)
        c.call("track", id=bytes(16)).expect("notAuthenticated", abort=False)
        c.call("authenticate", account="alice", password="secret").expect("ok")
        c.call("submitEnvelope", envelope("bob@b.example")).expect("ok")

    def test_login_limit(self):
        self.start()
        c = self.store.client("msoap")
        for _ in range(5):
            c.call("authenticate", account="alice", password="wrong").expect("notAuthenticated")
        answer = c.call("authenticate", account="alice", password="secret").expect("tryLater")
        self.assertGreater(answer.retry_after, 0)

    def test_refused_while_data_is_on_its_way(self):
        self.start()
        c = self.store.originator("alice")
        sender = {"sender": wire.mailbox("eve@e.example")}
        c.send("submitEnvelope", {**envelope("bob@b.example"), **sender})
        c.send("submitChunk", isLast=False, offset=0, data=MESSAGE)
        c.send_chunk([bytes(1 << 20)] * 3, 3 << 20, offset=len(MESSAGE))
        c.send("submitEnvelope", envelope("bob@b.example"))
        c.recv().expect("notPermitted", abort=True)
        c.recv().expect("unexpectedCommand", abort=False)
        c.recv().expect("unexpectedCommand", abort=False)
        c.recv().expect("ok")

    def test_limits(self):
        self.start(max_message="1M", max_recipients="3")
        c = self.store.originator("alice")
        c.call("submitEnvelope", envelope("bob@b.example", size=(1 << 20) + 1)).expect("tooBig")
        answer = c.call("submitEnvelope", envelope("a@b.example", "b@b.example", "c@b.example",
                                                   "d@b.example")).expect("ok")
        self.assertEqual(answer.data["recipients"], ["acceptable"] * 3 + ["tooMany"])
        c.call("submitEnvelope", envelope("bob@b.example", lifetime=1)).expect("lifetimeTooShort")
        c.call("submitEnvelope", envelope("bob@b.example")).expect("ok")
        c.send_chunk([bytes(1 << 20)], 1 << 20)
        c.recv().expect("ok")
        # A frame that no message could need is refused as such, and the session ends.
        c.call("submitEnvelope", envelope("bob@b.example")).expect("ok")
        c.send_raw((2 << 20).to_bytes(4, "big"))
        c.recv().expect("tooBig")
        self.assertTrue(c.closed())

    def test_quota(self):
        self.start()
        self.store.account("dora", quota="10K")
        c = self.store.originator("dora")
        c.call("submitEnvelope", envelope("bob@b.example", size=10241)).expect(
            "wouldExceedQuota", abort=True)
        submit(c, bytes(10000), "bob@b.example")
        c.call("submitEnvelope", envelope("bob@b.example")).expect("ok")
        c.call("submitChunk", isLast=True, offset=0, data=bytes(241)).expect(
            "wouldExceedQuota", abort=True)
        submit(c, bytes(240), "bob@b.example")

    def test_ids(self):
        """Every id kind, flipped: all answer alike; and none is in the log whole."""
        self.start()
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "bob@b.example")
        r = self.store.client("msrap")
        want = None
        for i in range(128):
            wrong = (int.from_bytes(own, "big") ^ 1 << i).to_bytes(16, "big")
            for name, more in (("retrieve", {"type": "all", "offset": 0, "length": 0}),
                               ("silence", {}), ("unPin", {}), ("querySize", {}), ("refuse", {})):
                octets = r.call(name, id=wrong, **more).expect("noSuchMessage").octets
                want = want or octets
                self.assertEqual(octets, want)
            c.call("track", id=wrong).expect("noSuchMessage")
            c.call("cancel", id=wrong).expect("noSuchMessage")
        self.store.account("dora")
        self.store.originator("dora").call("track", id=own).expect("noSuchMessage")
        self.assertNotIn(own.hex(), self.store.log())

    def test_resumed_over_a_crash(self):
        """A submission that was cut off by kill -9 is finished, exactly once."""
        self.start()
        whole = os.urandom(3 << 20)
        again = {**envelope("bob@b.example"), "submissionId": b"u" * 16}
        c = self.store.originator("alice")
        own = c.call("submitEnvelope", again).expect("ok").data["id"]
        c.call("submitChunk", isLast=False, offset=0, data=bytes(0)).expect("ok")
        c.send_raw(wire.chunk_head(0, True, len(whole)))
        c.send_raw(whole[:2 << 20])

        def held():
            """What is stored; 0 when asked while the first session was just writing."""
            with self.store.originator("alice") as other:
                answer = other.call("submitEnvelope", again)
                return 0 if answer.status == "tryLater" else answer.expect("ok").data["received"]
        harness.wait_for("a part of it is stored", lambda: held() >= 1 << 20)
        self.store.kill()
        c.close()
        self.store.start()
        c = self.store.originator("alice")
        answer = c.call("submitEnvelope", again).expect("ok").data
        self.assertEqual(answer["id"], own)
        self.assertFalse(answer["complete"])
        at = answer["received"]
        self.assertTrue(1 << 20 <= at <= 2 << 20)
        c.send_chunk([whole[at:]], len(whole) - at, offset=at)
        self.assertEqual(c.recv().expect("ok").data["digest"], digest(whole))
        answer = c.call("submitEnvelope", again).expect("ok").data
        self.assertEqual((answer["id"], answer["complete"]), (own, True))
        got = self.store.client("msrap").call("retrieve", id=own, type="all", offset=0, length=0)
        self.assertEqual(got.expect("ok").data["data"], whole)
        self.store.admin("check")

    def test_answered_is_stored(self):
        """What was answered is there after kill -9; what was not answered is whole or absent."""
        self.start()
        answered = []

        def load():
            try:
                c = self.store.originator("alice")
                while True:
                    answered.append((submit(c, MESSAGE, "bob@b.example"), MESSAGE))
            except (wire.Closed, OSError):
                pass
        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        harness.wait_for("there are submissions", lambda: len(answered) > 50)
        self.store.kill()
        for t in threads:
            t.join()
        self.store.start()
        r = self.store.client("msrap")
        for own, message in answered:
            got = r.call("retrieve", id=own, type="all", offset=0, length=0).expect("ok")
            self.assertEqual(got.data["data"], message)
        self.store.admin("check")

    def test_retrievals(self):
        self.start()
        header = (b"From: a\r\nSubject: b\r\nX: y\r\nMIME-Version: 1.0\r\n"
                  b"Content-Type: multipart/mixed; boundary=q\r\n\r\n")
        one, two = b"Hello\r\n", os.urandom(300000)
        message = (header + b"--q\r\n\r\n" + one + b"\r\n--q\r\nContent-Type: image/png\r\n\r\n"
                   + two + b"\r\n--q--\r\n")
        c = self.store.originator("alice")
        own = submit(c, message, "bob@b.example")
        r = self.store.client("msrap")
        self.assertEqual(r.call("querySize", id=own).expect("ok").data,
                         {"size": len(message), "headers": len(header)})
        named = {("nothing", None): b"", ("summary", None): b"From: a\r\nSubject: b\r\n\r\n",
                 ("headers", None): header, ("all", None): message, ("part", "1"): one,
                 ("part", "2"): two}
        for (kind, section), want in named.items():
            more = {"section": section} if section else {}
            for offset in (0, 1, BLOCK - 1, BLOCK, len(want), len(want) + 1, 1 << 62):
                for length in (0, 1, BLOCK, 1 << 62):
                    data = r.call("retrieve", id=own, type=kind, offset=offset, length=length,
                                  **more).expect("ok").data
                    cut = want[offset:]
                    self.assertEqual(data, {"size": len(want), "offset": offset,
                                            "data": cut[:length] if length else cut})
        text = r.call("retrieve", id=own, type="structure", offset=0, length=0).data["data"]
        self.assertIn(b'"IMAGE" "PNG"', text)
        # Two dozen at once, before any answer.
        for _ in range(24):
            r.send("retrieve", id=own, type="part", offset=100000, length=0, section="2")
        for _ in range(24):
            self.assertEqual(r.recv().expect("ok").data["data"], two[100000:])

    def test_bad_input(self):
        self.start()
        for kind in ("msoap", "msrap"):
            for octets in (b"\0\0\0\0", b"\0\0\0\2\xa1\x01", b"\0\0\0\5hello", b"\xff" * 64,
                           wire.frame(wire.response(kind))):
                with self.store.client(kind) as c:
                    c.send_raw(octets)
                    self.assertIn(c.recv().status, ("malformedPdu", "tooBig"))
                    self.assertTrue(c.closed())
        self.store.originator("alice").close()

    def test_reload(self):
        self.start(max_message="1M")
        c = self.store.originator("alice")
        self.store.set(max_message="2M")
        self.store.reload()

        def larger():
            with self.store.originator("alice") as other:
                return other.call("submitEnvelope",
                                  envelope("bob@b.example", size=3 << 19)).status == "ok"
        harness.wait_for("the new limit is in force", larger)
        # What it is told wrong is said, and the old stays in force.
        self.store.set(max_message="much")
        self.store.reload()
        harness.wait_for("it says so", lambda: "max-message" in self.store.log())
        self.assertTrue(larger())
        c.call("submitEnvelope", envelope("bob@b.example")).expect("ok")


class Large(StoreCase):
    # Sanitizers have memory of their own.
    @unittest.skipIf(harness.sanitizer() != "plain", "measures memory")
    def test_memory(self):
        """256 MiB in and out again, the daemon staying under 64 MiB."""
        self.start()
        size, piece = 256 << 20, os.urandom(1 << 20)
        leaves = [leaf(piece[i:i + BLOCK]) for i in range(0, len(piece), BLOCK)] * 256
        c = self.store.originator("alice")
        c.call("submitEnvelope", envelope("bob@b.example", size=size)).expect("ok")
        own = c.call("submitEnvelope", envelope("bob@b.example", size=size)).expect("ok")
        own = own.data["id"]
        c.send_chunk([piece] * 256, size)
        self.assertEqual(c.recv().expect("ok").data["digest"], root(leaves))
        self.assertLess(self.store.memory()["VmHWM"], 64 << 20)
        r = self.store.client("msrap")
        r.send("retrieve", id=own, type="all", offset=0, length=0)
        tail, found = [b""], hashlib.sha256()

        def sink(octets):
            found.update(tail[0])
            tail[0] = octets
        n = r.recv_data(sink)
        found.update(tail[0])
        self.assertTrue(size < n < size + 200)
        # The octets asked for are the end of the frame.
        r.send("retrieve", id=own, type="all", offset=size - 1000, length=0)
        self.assertEqual(r.recv().expect("ok").data["data"], piece[-1000:])
        self.assertLess(self.store.memory()["VmHWM"], 64 << 20)


class Notifier(StoreCase):
    def test_results(self):
        """Each answer of an agent, as the sender sees it, and what is in a notification."""
        by = {"a": "accepted", "f": "full", "n": "noUser", "r": "refused", "u": "unverified",
              "l": "tryLater"}
        agent = Agent(self.site, "b.example", lambda n: by[n["recipient"]["localpart"]])
        self.start(agent.route)
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, *(f"{k}@b.example" for k in by))
        self.wait_status(c, own, a="notifying", f="full", n="noUser", r="refused", u="refused",
                         l="unprocessed")
        (name, told), = agent.wait(1)
        self.assertEqual(name, "notify")
        self.assertEqual([n["recipient"]["localpart"] for n in told], sorted(by))
        n = told[0]
        self.assertEqual(n["storeClear"], ("literals", []))
        self.assertEqual(n["storeTls"], wire.location("a.example"))
        self.assertEqual(n["sender"], "alice@a.example")
        self.assertEqual(n["size"], len(MESSAGE))
        self.assertEqual(n["digest"], digest(MESSAGE))
        self.assertIn(b"Subject: Hello\r\n", n["header"])
        self.assertTrue(n["header"].endswith(b"\r\n\r\n"))
        self.assertIn("TEXT", n["structure"].upper())
        self.assertAlmostEqual((n["expires"] - n["submitted"]) / 1e6, 90 * DAY, delta=60)
        deliveries = self.track(c, own)
        self.assertIn("not verified", deliveries["u@b.example"]["text"])
        for d in deliveries.values():
            self.assertEqual(d["attempts"], 1)
            self.assertTrue(d["pinned"])
        # The capability is the recipient's; with it the sender learns what became of it.
        r = self.store.client("msrap")
        self.assertEqual(r.call("retrieve", id=n["id"], type="all", offset=0, length=0)
                         .expect("ok").data["data"], MESSAGE)
        r.call("silence", id=n["id"]).expect("ok")
        self.wait_status(c, own, a="silenced")
        harness.wait_for("it is read", lambda: self.track(c, own)["a@b.example"]["read"]
                         == "readAll")

    def test_one_connection(self):
        """Messages to one domain share a connection, and come together."""
        agent = Agent(self.site, "b.example")
        self.start(agent.route)
        c = self.store.originator("alice")
        ids = [submit(c, MESSAGE, "bob@b.example") for _ in range(40)]
        for own in ids:
            self.wait_status(c, own, bob="notifying")
        self.assertEqual(agent.server.connections, 1)
        self.assertEqual(sum(len(told) for _, told in agent.told), 40)

    def test_many(self):
        """More recipients than one command carries."""
        agent = Agent(self.site, "b.example")
        self.start(agent.route)
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, *(f"r{i}@b.example" for i in range(2100)))

        def all_told():
            return sum(d["notification"] == "notifying"
                       for d in self.track(c, own).values()) == 2100
        harness.wait_for("all are told", all_told)
        told = [n["recipient"]["localpart"] for _, t in agent.told for n in t]
        self.assertEqual(len(told), 2100)
        self.assertEqual(len(set(told)), 2100)
        self.assertTrue(all(len(t) <= 256 for _, t in agent.told))
        self.store.admin("check")

    def test_agent_comes_back(self):
        """An agent that is down: retried by the schedule, the clock being moved, not waited
        for; the day after it is told once more, until the recipient has spoken."""
        clock = self.site.fake_clock()
        port = harness.free_port()
        self.start(f"b.example rnasp 127.0.0.1:{port}")
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "bob@b.example")
        self.wait_status(c, own, bob="noServer")
        d = self.track(c, own)["bob@b.example"]
        self.assertIn(str(port), d["text"])
        self.assertTrue(40 < d["nextAttempt"] / 1e6 - clock.now() < 80)
        agent = Agent(self.site, "b.example")
        self.store.set(route=[agent.route])
        self.store.restart()
        c = self.store.originator("alice")
        time.sleep(0.2)
        self.assertEqual(agent.told, [])
        clock.move(90)
        self.wait_status(c, own, bob="notifying")
        agent.wait(1)
        clock.move(25 * 3600)
        agent.wait(2)
        harness.wait_for("it is written", lambda: self.track(c, own)["bob@b.example"]["attempts"]
                         == 3)
        message_id = agent.told[0][1][0]["id"]
        self.store.client("msrap").call("silence", id=message_id).expect("ok")
        clock.move(30 * DAY)
        time.sleep(2.5)
        self.assertEqual(len(agent.told), 2)
        self.wait_status(c, own, bob="silenced")
        self.store.admin("check")

    def test_no_agent(self):
        """Domains that do not exist, or offer nothing."""
        zone = dns.zone("example", "plain IN A 127.0.0.1\nnot IN A 127.0.0.1\n"
                        "_im2000-rnasp._tcp.not IN SRV 0 0 0 .")
        resolver = self.site.dns({"example": zone})
        self.start(dns_server=[resolver.address])
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "a@nowhere.example", "b@plain.example", "c@not.example")
        self.wait_status(c, own, a="badDomain", b="noService", c="noService")

    def test_wrong_certificate(self):
        """An agent whose certificate is for another name, and one that nobody trusted signed."""
        stranger = certs.Authority(os.path.join(self.site.folder, "stranger"))
        agents = [Agent(self.site, "b.example", cert=self.site.authority.issue("c.example")),
                  Agent(self.site, "d.example", cert=stranger.issue("d.example"))]
        self.start(*(agent.route for agent in agents))
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "bob@b.example", "dora@d.example")
        self.wait_status(c, own, bob="protocolError", dora="protocolError")
        self.assertEqual([agent.told for agent in agents], [[], []])

    def test_answers_that_break(self):
        for status, want in (("tryLater", "unprocessed"), ("serviceShutdown", "unprocessed"),
                             ("unsupported", "protocolError"), ("malformedPdu", "protocolError")):
            with self.subTest(status):
                site = harness.Site("breaks")
                try:
                    agent = Agent(site, "b.example")
                    agent.status = status
                    self.store = site.store("a.example", route=[agent.route])
                    self.store.account("alice")
                    c = self.store.originator("alice")
                    own = submit(c, MESSAGE, "bob@b.example")
                    harness.wait_for("it is tried", lambda: self.track(c, own)
                                     ["bob@b.example"]["attempts"] == 1)
                    d = self.track(c, own)["bob@b.example"]
                    self.assertEqual(d["notification"], want)
                    self.assertIn(status, d["text"])
                finally:
                    site.close()

    def test_nonsense(self):
        """An agent that answers what is no PDU, or closes: the daemon goes on."""
        for octets in (b"\0\0\0\4junk", b"", wire.frame(wire.response(
                "rnasp", "notify", {"results": ["accepted", "accepted"]}))):
            with self.subTest(octets):
                site = harness.Site("nonsense")
                try:
                    def serve(peer, answer=octets):
                        peer.read_frame()
                        peer.send_raw(answer)
                    agent = server(site, "b.example", serve)
                    self.store = site.store(
                        "a.example",
                        route=[f"b.example rnasp {harness.endpoint(agent.address)}"])
                    self.store.account("alice")
                    c = self.store.originator("alice")
                    own = submit(c, MESSAGE, "bob@b.example")
                    self.wait_status(c, own, bob="protocolError" if octets else "noServer")
                finally:
                    site.close()

    def test_kept_connection_dies(self):
        """The agent ends a kept connection: the next notification goes on a new one, at once."""
        told = []

        def serve(peer):
            _, value = wire.MODULES.decode("IM2000-RNASP", "Pdu", peer.read_frame())
            told.append(value["data"][1]["notifications"])
            peer.send_raw(wire.frame(wire.response("rnasp", "notify", {"results": ["accepted"]})))
        agent = server(self.site, "b.example", serve)
        self.start(f"b.example rnasp {harness.endpoint(agent.address)}")
        c = self.store.originator("alice")
        for _ in range(5):
            own = submit(c, MESSAGE, "bob@b.example")
            self.wait_status(c, own, bob="notifying")
        self.assertEqual(len(told), 5)

    def test_cancel(self):
        """Recall: the agent is told, the capability is dead, the octets are gone."""
        agent = Agent(self.site, "b.example")
        self.start(agent.route)
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "anna@b.example", "bob@b.example")
        self.wait_status(c, own, anna="notifying", bob="notifying")
        anna, bob = (n["id"] for n in agent.told[0][1])
        c.call("cancel", id=own, recipients=[wire.mailbox("bob@b.example")]).expect("ok")
        name, told = agent.wait(2)[1]
        self.assertEqual(name, "withdraw")
        self.assertEqual(told, [{"recipient": wire.mailbox("bob@b.example"), "id": bob}])
        r = self.store.client("msrap")
        r.call("retrieve", id=bob, type="all", offset=0, length=0).expect("withdrawn")
        r.call("retrieve", id=anna, type="all", offset=0, length=0).expect("ok")
        c.call("cancel", id=own).expect("ok")
        self.assertEqual([n["id"] for n in agent.wait(3)[2][1]], [anna])
        r.call("retrieve", id=anna, type="all", offset=0, length=0).expect("withdrawn")
        self.wait_status(c, own, anna="withdrawn", bob="withdrawn")
        self.store.admin("check")

    def test_release_at(self):
        clock = self.site.fake_clock()
        agent = Agent(self.site, "b.example")
        self.start(agent.route)
        c = self.store.originator("alice")
        later = int((clock.now() + 3600) * 1000000)
        own = submit(c, MESSAGE, "bob@b.example", releaseAt=later)
        time.sleep(1.5)
        self.assertEqual(agent.told, [])
        clock.move(3601)
        self.wait_status(c, own, bob="notifying")

    def test_lifetime(self):
        """It ends: nobody is told any more, nothing can be read, later nothing is known."""
        clock = self.site.fake_clock()
        agent = Agent(self.site, "b.example", lambda n: "full")
        self.start(agent.route)
        c = self.store.originator("alice")
        own = submit(c, MESSAGE, "bob@b.example", lifetime=2 * DAY)
        self.wait_status(c, own, bob="full")
        message_id = agent.told[0][1][0]["id"]
        clock.move(2 * DAY + 1)
        r = self.store.client("msrap")
        r.call("retrieve", id=message_id, type="all", offset=0, length=0).expect("withdrawn")
        self.wait_status(c, own, bob="expired")
        r.call("retrieve", id=own, type="all", offset=0, length=0).expect("withdrawn")
        clock.move(400 * DAY)
        harness.wait_for("it is forgotten",
                         lambda: c.call("track", id=own).status == "noSuchMessage")
        self.store.admin("check")


if __name__ == "__main__":
    harness.main()

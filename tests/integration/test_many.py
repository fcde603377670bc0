"""The notifier with many recipients, domains and accounts: what is told, in which commands, over
which connections, and that nobody is held up by another."""

# builds: asan
# time-limit: 600

import socket
import threading
import time

import harness
import wire

MESSAGE = b"From: alice@a.example\r\nSubject: To all\r\n\r\nHello to all of you.\r\n"


def submit(client, *to, account="alice"):
    """Submits MESSAGE to mailboxes given as text; the originator's id."""
    done = client.call("submitEnvelope", recipients=[wire.mailbox(t) for t in to], lifetime=0,
                       sender=wire.mailbox(account + "@a.example")).expect("ok")
    assert set(done.data["recipients"]) == {"acceptable"}, done
    client.call("submitChunk", isLast=True, offset=0, data=MESSAGE).expect("ok")
    return done.data["id"]


def track(client, message):
    """{mailbox: delivery}"""
    found, after = {}, 0
    while True:
        done = client.call("track", id=message, after=after).expect("ok").data
        for d in done["deliveries"]:
            found[wire.mailbox_text(d["recipient"])] = d
        if "next" not in done:
            return found
        after = done["next"]


class Agents:
    """One listener that plays the agents of DOMAINS, told apart by SNI. Keeps what it is told,
    and answers for each mailbox as ANSWER says. MANY: whether it takes notifyMany ("break": it
    closes instead of answering it). It answers while `gate` is set."""

    def __init__(self, site, domains, answer=lambda mailbox: "accepted", many=True, port=0):
        self.domains = domains
        self.answer = answer
        self.many = many
        self.delay = 0          # seconds before each answer
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.told = {}          # mailbox: how often
        self.order = []         # (command, domain, mailboxes), as they came
        self.names = []         # SNI of each connection
        self.peers = set()      # connections
        self.most = 0           # of them at once
        self.resumed = 0        # connections
        cert, key = site.authority.issue(*domains, usage="serverAuth")
        self.server = wire.Server("rnasp", cert, key, self.serve, port=port)
        self.server.context.sni_callback = self.sni
        site.others.append(self.server)
        self.routes = [f"{d} rnasp {harness.endpoint(self.server.address)}" for d in domains]

    def sni(self, sock, name, _context):
        with self.lock:
            self.names.append(name)
        sock.asked_for = name

    def serve(self, peer):
        with self.lock:
            self.peers.add(peer)
            self.most = max(self.most, len(self.peers))
            self.resumed += peer.sock.session_reused
        try:
            while self.answer_one(peer):
                pass
        except wire.Closed:
            pass
        finally:
            with self.lock:
                self.peers.remove(peer)

    def answer_one(self, peer):
        _, value = wire.MODULES.decode("IM2000-RNASP", "Pdu", peer.read_frame())
        name, data = value["data"]
        domain = peer.sock.asked_for
        which = data["addressees" if name == "notifyMany" else "notifications"]
        boxes = [wire.mailbox_text(n["recipient"]) for n in which]
        with self.lock:
            self.order.append((name, domain, boxes))
        assert all(b.endswith("@" + domain) for b in boxes), (domain, boxes)
        time.sleep(self.delay)
        self.gate.wait(harness.PATIENCE)
        if name == "notifyMany" and self.many == "break":
            return False
        if name == "notifyMany" and not self.many:
            answer = wire.response("rnasp", status="unsupported")
        elif name == "withdraw":
            answer = wire.response("rnasp", "withdraw")
        else:
            with self.lock:
                for box in boxes:
                    self.told[box] = self.told.get(box, 0) + 1
            answer = wire.response("rnasp", name, {"results": [self.answer(b) for b in boxes]})
        peer.send_raw(wire.frame(answer))
        return True

    def drop(self):
        """Ends the connections, on which nothing is under way."""
        with self.lock:
            peers = list(self.peers)
        for peer in peers:
            peer.sock.shutdown(socket.SHUT_RDWR)
        harness.wait_for("connections end", lambda: not self.peers.intersection(peers))

    def commands(self, name):
        with self.lock:
            return [boxes for n, _, boxes in self.order if n == name]

    def wait_told(self, n):
        harness.wait_for(f"{n} mailboxes are told", lambda: len(self.told) >= n)


class Case(harness.TestCase):
    def start(self, *agents, accounts=("alice",), routes=(), **settings):
        routes = [r for a in agents for r in a.routes] + list(routes)
        self.store = self.site.store("a.example", route=routes, **settings)
        for account in accounts:
            self.store.account(account)

    def wait_status(self, client, message, status, n):
        """Until N deliveries of MESSAGE have STATUS."""
        def there():
            return sum(d["notification"] == status for d in track(client, message).values()) == n
        harness.wait_for(f"{n} are {status}", there)

    def finish(self):
        self.store.stop()
        self.store.admin("check")


class Commands(Case):
    def test_many(self):
        """2,500 recipients at one domain, in as few commands as there is room for."""
        agents = Agents(self.site, ["b.example"])
        self.start(agents)
        with self.store.originator("alice") as c:
            message = submit(c, *(f"r{i}@b.example" for i in range(2500)))
            self.wait_status(c, message, "notifying", 2500)
            self.assertEqual(len(agents.commands("notifyMany")), 3)
            self.assertEqual(agents.commands("notify"), [])
            self.assertEqual(set(agents.told.values()), {1})
            c.call("cancel", id=message).expect("ok")
            harness.wait_for("all are withdrawn",
                             lambda: sum(map(len, agents.commands("withdraw"))) == 2500)
        self.finish()

    def test_same_as_notify(self):
        """What is alike in notifyMany is what stands in a notification by itself."""
        seen = []
        agents = Agents(self.site, ["b.example", "c.example"])
        decode = wire.MODULES.decode

        def look(*arguments):
            value = decode(*arguments)
            if arguments[0] == "IM2000-RNASP":
                seen.append(value[1]["data"])
            return value
        wire.MODULES.decode = look
        self.addCleanup(setattr, wire.MODULES, "decode", decode)
        self.start(agents)
        with self.store.originator("alice") as c:
            submit(c, "x@c.example", *(f"r{i}@b.example" for i in range(20)))
            agents.wait_told(21)
        found = dict(seen)
        many, one = found["notifyMany"]["common"], found["notify"]["notifications"][0]
        self.assertEqual(many["recipient"], wire.mailbox("r0@b.example"))
        self.assertEqual(many["id"], found["notifyMany"]["addressees"][0]["id"])
        for name in many:
            if name not in ("recipient", "id"):
                self.assertEqual(many[name], one[name], name)
        ids = {a["id"] for a in found["notifyMany"]["addressees"]}
        self.assertEqual(len(ids), 20)
        with self.store.client("msrap") as r:
            for a in found["notifyMany"]["addressees"]:
                r.call("retrieve", id=a["id"], type="all", offset=0, length=0).expect("ok")

    def test_unsupported(self):
        """Asked once, remembered over connections."""
        agents = Agents(self.site, ["b.example"], many=False)
        self.start(agents)
        with self.store.originator("alice") as c:
            for n in range(3):
                message = submit(c, *(f"r{n}-{i}@b.example" for i in range(600)))
                self.wait_status(c, message, "notifying", 600)
                agents.drop()
        self.assertEqual(len(agents.commands("notifyMany")), 1)
        self.assertTrue(all(len(boxes) <= 256 for boxes in agents.commands("notify")))
        self.assertEqual(set(agents.told.values()), {1})
        self.assertEqual(len(agents.told), 1800)
        self.finish()

    def test_breaks(self):
        """One that breaks at what it does not know is not asked again."""
        clock = self.site.fake_clock()
        agents = Agents(self.site, ["b.example"], many="break")
        self.start(agents)
        with self.store.originator("alice") as c:
            message = submit(c, *(f"r{i}@b.example" for i in range(30)))
            self.wait_status(c, message, "noServer", 30)
            clock.move(120)
            self.wait_status(c, message, "notifying", 30)
        self.assertEqual(len(agents.commands("notifyMany")), 1)

    def test_small_ones_together(self):
        """Messages to a few go together in one notify."""
        agents = Agents(self.site, ["b.example"])
        agents.delay = 0.5
        self.start(agents)
        with self.store.originator("alice") as c:
            for n in range(30):
                submit(c, f"x{n}@b.example", f"y{n}@b.example")
            agents.wait_told(60)
        self.assertLess(len(agents.order), 10)
        self.finish()


class Connections(Case):
    def test_caps(self):
        """No more at once than may be, in all and at one address; none is forgotten."""
        near = Agents(self.site, [f"n{i}.example" for i in range(30)])
        far = Agents(self.site, [f"f{i}.example" for i in range(30)])
        near.delay = far.delay = 0.02
        self.start(near, far, notify_connections=7, notify_connections_per_address=4)
        with self.store.originator("alice") as c:
            for n in range(4):
                submit(c, *(f"u{n}@{d}" for d in near.domains + far.domains))
            near.wait_told(120)
            far.wait_told(120)
        # The thread of a connection that has ended may linger.
        self.assertLessEqual(near.most, 6)
        self.assertLessEqual(far.most, 6)
        self.assertEqual(set(near.told.values()) | set(far.told.values()), {1})
        self.finish()

    def test_resumed(self):
        """Connections that take turns resume their TLS sessions."""
        agents = Agents(self.site, ["b.example", "c.example"])
        self.start(agents, notify_connections=1)
        with self.store.originator("alice") as c:
            for n in range(5):
                for domain in agents.domains:
                    submit(c, f"u{n}@{domain}")
                    harness.wait_for("it is told", lambda: f"u{n}@{domain}" in agents.told)
        self.assertLessEqual(agents.most, 2)     # the thread of one that has ended may linger
        self.assertEqual(len(agents.names), 10)
        self.assertEqual(agents.resumed, 8)


class Fair(Case):
    """Another account's single notification, by where it comes in the order of things."""

    def test_one_domain(self):
        """An agent that has thousands of one account's to take."""
        agents = Agents(self.site, ["b.example"], many=False)
        agents.delay = 0.05
        self.start(agents, accounts=("alice", "carl"))
        with self.store.originator("alice") as c:
            for n in range(10):
                submit(c, *(f"r{n}-{i}@b.example" for i in range(1000)))
        harness.wait_for("some are told", lambda: len(agents.told) > 500)
        with self.store.originator("carl") as c:
            before = len(agents.order)
            submit(c, "single@b.example", account="carl")
            harness.wait_for("it is told", lambda: "single@b.example" in agents.told)
        place = next(i for i, (_, _, boxes) in enumerate(agents.order)
                     if "single@b.example" in boxes)
        # What was on the wire or loaded already comes before it, and little else.
        self.assertLess(place, before + 10)
        self.assertLess(len(agents.told), 9000)
        agents.delay = 0
        agents.wait_told(10001)
        self.finish()

    def test_dead_domains(self):
        """One account's domains that never answer take no more connections than their share."""
        dead = socket.create_server(("127.0.0.1", 0), backlog=400)
        self.addCleanup(dead.close)
        agents = Agents(self.site, ["b.example", "c.example"])
        names = [f"dead{i}.example" for i in range(300)]
        self.start(agents, accounts=("alice", "carl"), notify_connections=8,
                   routes=[f"{d} rnasp {harness.endpoint(dead.getsockname())}" for d in names])
        with self.store.originator("alice") as c, self.store.originator("carl") as other:
            lost = submit(c, *(f"r@{d}" for d in names))
            time.sleep(0.5)
            for n in range(5):
                submit(other, f"x{n}@b.example", f"x{n}@c.example", account="carl")
            agents.wait_told(10)
            # The first of the dead have not been given up yet: nothing waited for them.
            self.assertEqual({d["notification"] for d in track(c, lost).values()},
                             {"unprocessed"})

    def test_backlog(self):
        """More jobs than are in hand at once: what comes later is found behind them."""
        agents = Agents(self.site, [f"d{i}.example" for i in range(20)], many=False)
        late = Agents(self.site, ["late.example"])
        agents.gate.clear()
        self.start(agents, late, accounts=("alice", "carl"))
        with self.store.originator("alice") as c:
            for n in range(300):
                submit(c, *(f"r{n}@{d}" for d in agents.domains))
        with self.store.originator("carl") as c:
            submit(c, "single@late.example", account="carl")
            late.wait_told(1)
        self.assertEqual(agents.told, {})
        agents.gate.set()
        agents.wait_told(6000)
        self.assertEqual(set(agents.told.values()), {1})
        self.finish()


class Hundred(Case):
    """100,000 recipients over 100 domains, a third of which is down for an hour: see also
    test_series.py."""

    DOMAINS = [f"d{i}.example" for i in range(100)]
    DOWN = DOMAINS[::3]
    RESULTS = {"a": "accepted", "n": "noUser", "r": "refused", "f": "full"}
    STATUS = {"a": "notifying", "n": "noUser", "r": "refused", "f": "full"}

    def answer(self, mailbox):
        return self.RESULTS[mailbox[0]]

    def recipients(self, part):
        """10,000, 100 for each domain; of each hundred one is unknown, one refuses, one is full."""
        first = {7: "n", 8: "r", 9: "f"}
        return [f"{first.get(i, 'a')}{part}-{i}@{d}" for d in self.DOMAINS for i in range(100)]

    def told_as_often(self, up, down):
        """Who has it was told once; who has not, again, unless his agent was down."""
        for agents in up, down:
            for box, times in agents.told.items():
                self.assertEqual(times == 1, box[0] == "a" or agents is down, box)
            self.assertEqual([str(e) for e in agents.server.errors], [])


class Show(Hundred):
    def counts(self, c, messages):
        """How many deliveries there are of (whether its domain is down, status)."""
        found = {}
        for message in messages:
            for box, d in track(c, message).items():
                key = box.partition("@")[2] in self.DOWN, d["notification"]
                found[key] = found.get(key, 0) + 1
        return found

    def test_show(self):
        clock = self.site.fake_clock()
        port = harness.free_port()
        up = Agents(self.site, [d for d in self.DOMAINS if d not in self.DOWN], self.answer)
        self.start(up, routes=[f"{d} rnasp 127.0.0.1:{port}" for d in self.DOWN],
                   notify_connections_per_address=100)
        n_down, n_up = len(self.DOWN) * 1000, (100 - len(self.DOWN)) * 1000
        with self.store.originator("alice") as c:
            messages = [submit(c, *self.recipients(part)) for part in range(10)]
            up.wait_told(n_up)
            wanted = {(False, "notifying"): n_up * 97 // 100, (False, "noUser"): n_up // 100,
                      (False, "refused"): n_up // 100, (False, "full"): n_up // 100,
                      (True, "noServer"): n_down}
            harness.wait_for("every agent was tried",
                             lambda: self.counts(c, messages) == wanted)
            for _ in range(12):
                clock.move(300)
                time.sleep(1.5)
            self.assertEqual(self.counts(c, messages), wanted)
            # 1, 3, 7, 15, 31 minutes after the first, a fifth more or less; 63 may have come.
            tries = [d["attempts"] for d in track(c, messages[0]).values()
                     if d["notification"] == "noServer"]
            self.assertTrue(all(4 <= t <= 8 for t in tries), (min(tries), max(tries)))
            down = Agents(self.site, self.DOWN, self.answer, port=port)
            clock.move(80 * 60)
            down.wait_told(n_down)
            wanted = {(False, "notifying"): n_up * 97 // 100, (False, "noUser"): n_up // 100,
                      (False, "refused"): n_up // 100, (False, "full"): n_up // 100,
                      (True, "notifying"): n_down * 97 // 100, (True, "noUser"): n_down // 100,
                      (True, "refused"): n_down // 100, (True, "full"): n_down // 100}
            harness.wait_for("every status is right", lambda: self.counts(c, messages) == wanted)
            for message in messages:
                for box, d in track(c, message).items():
                    self.assertEqual(d["notification"], self.STATUS[box[0]], box)
        self.told_as_often(up, down)
        self.finish()


if __name__ == "__main__":
    harness.main()

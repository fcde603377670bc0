"""The pull cache: mail programs fetch messages through the agent (RNAQP fetch), which pulls
them from senders' stores that are well, down, slow, cut off or lying."""

import glob
import json
import os
import threading
import time

import dns
import harness
import pulls
import wire

# builds: asan tsan


def text(n, seed=b"x"):
    """A message of N octets."""
    head = b"From: alice@a.example\r\nSubject: " + seed + b"\r\n\r\n"
    return (head + seed * n)[:n]


class Store:
    """A sender's store, of raw answers: `messages` by id, `answers` to retrieves by id where
    they are others. `asked` is the ids of all retrieves, with their offsets."""

    def __init__(self, site, *domains):
        self.messages, self.answers, self.asked = {}, {}, []
        self.gate = threading.Event()       # octets wait for it
        self.gate.set()
        self.lock = threading.Lock()
        cert = site.authority.issue(*domains, usage="serverAuth")
        self.server = wire.Server("msrap", cert[0], cert[1], self.serve)
        self.routes = [f"{domain} msrap {harness.endpoint(self.server.address)}"
                       for domain in domains]

    def serve(self, peer):
        while True:
            try:
                octets = peer.read_frame()
            except (wire.Closed, OSError):
                return
            _, value = wire.MODULES.decode("IM2000-MSRAP", "Pdu", octets)
            name, fields = value["data"]
            assert name == "retrieve" and fields["type"] == "all", value
            with self.lock:
                self.asked.append((fields["id"], fields["offset"]))
            answer = self.answers.get(fields["id"], self.whole)
            answer(peer, self.messages.get(fields["id"]), fields["offset"])

    def whole(self, peer, message, offset):
        if message is None:
            self.say(peer, status="noSuchMessage")
            return
        self.gate.wait(harness.PATIENCE)
        self.say(peer, "retrieve", size=len(message), offset=offset, data=message[offset:])

    @staticmethod
    def say(peer, name="none", status="ok", text=None, **fields):
        more = {"text": text} if text else {}
        peer.send_raw(wire.frame(wire.response("msrap", name, fields, status=status, **more)))

    def close(self):
        self.gate.set()
        self.server.close()


class Case(harness.TestCase):
    settings = {}
    domains = ["a.example"]

    def setUp(self):
        super().setUp()
        self.open = []
        self.addCleanup(lambda: [x.close() for x in self.open])
        self.prepare()
        self.store = self.kept(Store(self.site, *self.domains))
        self.agent = self.site.notify("b.example", **{
            "pull_cache": "4M", "pull_again": "1h", "route": self.store.routes,
            "metrics": "127.0.0.1:0", **self.settings})
        self.tokens = {}
        self.mailboxes("bob", "eve")
        self.connect()

    def prepare(self):
        """Before the daemon starts."""

    def kept(self, thing):
        self.open.append(thing)
        return thing

    def connect(self):
        cert = self.site.authority.issue("c.example", *self.domains, usage="serverAuth")
        self.notifier = self.kept(self.agent.client("rnasp", cert=cert[0], key=cert[1]))
        self.readers = {}

    def mailboxes(self, *names):
        """With tokens, which cost no time."""
        for name in names:
            self.tokens[name] = self.agent.admin("mailbox", "add", name + "@b.example",
                                                 "--token").stdout.strip()

    def fresh_reader(self, name="bob"):
        return self.kept(self.agent.reader(name, password=self.tokens[name]))

    def reader(self, name="bob"):
        if name not in self.readers:
            self.readers[name] = self.fresh_reader(name)
        return self.readers[name]

    def announce(self, message, *names, domain="a.example", identity=None, **more):
        """Tells NAMES (bob) of MESSAGE; its id, or the ids of all when there are several."""
        ids = []
        for name in names or ["bob"]:
            ids.append(identity or os.urandom(16))
            self.store.messages[ids[-1]] = message
            fields = {"size": len(message), "digest": pulls.digest(message), **more}
            note = wire.notification(domain, name + "@b.example", ids[-1], "alice@" + domain,
                                     **{k: v for k, v in fields.items() if v is not None})
            done = self.notifier.call("notify", notifications=[note]).expect("ok")
            self.assertEqual(done.data["results"], ["accepted"])
        return ids[0] if len(ids) == 1 else ids

    def cursor(self, identity, name="bob"):
        done = self.reader(name).call("retrieve", after=0, limit=1000).expect("ok")
        found = [n["cursor"] for n in done.data["notifications"]
                 if n["notification"]["id"] == identity]
        self.assertEqual(len(found), 1)
        return found[0]

    def fetch(self, identity, name="bob", kind="all", offset=0, length=0, reader=None):
        reader = reader or self.reader(name)
        return reader.call("fetch", cursor=self.cursor(identity, name), type=kind, offset=offset,
                           length=length)

    def assertFetches(self, identity, message, name="bob", **more):
        done = self.fetch(identity, name, **more).expect("ok").data
        self.assertEqual((done["size"], done["offset"]), (len(message), 0))
        self.assertTrue(done["data"] == message, "other octets")

    def files(self):
        return glob.glob(os.path.join(self.agent.data, "cache", "*"))

    def count(self, name):
        return self.agent.metrics()["im2000_notify_" + name]


class Reading(Case):
    def test_sizes(self):
        """Every octet, whatever the size; once from the store, then from the cache."""
        for size in (0, 1, 4000, 65535, 65536, 65537, 300000):
            with self.subTest(size=size):
                message = text(size, b"%d" % size)
                bob, eve = self.announce(message, "bob", "eve")
                self.assertFetches(bob, message)
                self.assertFetches(bob, message)
                self.assertFetches(eve, message, "eve")
                self.assertEqual(self.store.asked, [(bob, 0)])
                self.store.asked.clear()
        self.assertEqual(self.count('pulls_total{result="ok"}'), 7)
        self.assertEqual(self.count('fetches_total{result="hit"}'), 14)
        self.assertEqual(self.count('fetches_total{result="miss"}'), 7)
        self.assertEqual(self.count("cache_messages"), 7)
        self.agent.stop()
        stats = json.loads(self.agent.admin("stats", "--json").stdout)
        self.assertEqual([stats[name] for name in ("fetch-hits", "fetch-misses", "pulled",
                                                   "pulls-failed", "cache-messages")],
                         [14, 7, 7, 0, 7])
        self.assertEqual(stats["pulled-octets"], stats["cache-octets"])

    def test_ranges(self):
        message = text(200000, b"range ")
        identity = self.announce(message)
        for offset, length in ((0, 1), (1, 0), (65530, 20), (199999, 5), (200000, 1), (10**9, 7)):
            done = self.fetch(identity, offset=offset, length=length).expect("ok").data
            end = offset + length if length else None
            self.assertEqual((done["size"], done["offset"]), (200000, offset))
            self.assertEqual(done["data"], message[offset:end])
        nothing = self.fetch(identity, kind="nothing").expect("ok").data
        self.assertEqual(nothing, {"size": 0, "offset": 0, "data": b""})
        self.fetch(identity, kind="structure").expect("unsupported")
        self.assertEqual(len(self.store.asked), 1)

    def test_restart(self):
        """What was pulled is there after a restart; what was damaged meanwhile is pulled anew."""
        good, bad, short = (text(100000, s) for s in (b"good", b"bad", b"short"))
        ids = [self.announce(m) for m in (good, bad, short)]
        for identity, message in zip(ids, (good, bad, short)):
            self.assertFetches(identity, message)
        self.agent.stop()
        path = os.path.join(self.agent.data, "cache", pulls.digest(bad).hex())
        with open(glob.glob(path + "-*")[0], "r+b") as file:
            file.seek(70000)
            file.write(b"?")
        done = self.agent.admin("check", status=1)
        self.assertIn(pulls.digest(bad).hex(), done.stdout)
        path = os.path.join(self.agent.data, "cache", pulls.digest(short).hex())
        os.truncate(glob.glob(path + "-*")[0], 5)
        with open(os.path.join(self.agent.data, "cache", ".spool-abcdef"), "wb") as file:
            file.write(b"unfinished")
        self.store.asked.clear()
        self.agent.start()
        self.connect()
        for identity, message in zip(ids, (good, bad, short)):
            self.assertFetches(identity, message)
        self.assertEqual(self.store.asked, [(ids[1], 0), (ids[2], 0)])
        self.assertEqual(len(self.files()), 3)
        self.assertFalse(os.path.exists(os.path.join(self.agent.data, "cache", ".spool-abcdef")))

    def test_bounded(self):
        """Those unused for longest go; a message larger than the cache is not asked for."""
        messages = [text(1 << 20, b"%d" % i) for i in range(6)]
        ids = [self.announce(m) for m in messages]
        for i in (0, 1, 2, 3, 0, 4):
            self.assertFetches(ids[i], messages[i])
        self.assertEqual(self.count("cache_octets"), 4 << 20)
        self.assertEqual(self.count("cache_evicted_total"), 1)
        self.assertEqual(len(self.files()), 4)
        self.store.asked.clear()
        for i in (0, 3, 1):
            self.assertFetches(ids[i], messages[i])
        self.assertEqual(self.store.asked, [(ids[1], 0)])
        done = self.fetch(self.announce(text((4 << 20) + 1))).expect("tooBig")
        self.assertIn(str(4 << 20), done.text)
        # Not announced, but said by the store.
        done = self.fetch(self.announce(text((4 << 20) + 1, b"y"), size=None)).expect("tooBig")
        self.assertEqual(len(self.store.asked), 2)
        self.assertEqual(len(self.files()), 4)

    def test_reload(self):
        """SIGHUP takes another size; off, `fetch` is not offered and the disk is free."""
        messages = [text(1 << 20, b"%d" % i) for i in range(4)]
        ids = [self.announce(m) for m in messages]
        for identity, message in zip(ids, messages):
            self.assertFetches(identity, message)
        self.agent.set(pull_cache="2M")
        self.agent.reload()
        harness.wait_for("the cache is smaller", lambda: len(self.files()) == 2)
        self.assertFetches(ids[3], messages[3])
        self.agent.set(pull_cache=None)
        self.agent.reload()
        harness.wait_for("the cache is empty", lambda: self.files() == [])
        self.fetch(ids[3]).expect("unsupported")
        self.agent.set(pull_cache="1M")
        self.agent.reload()
        harness.wait_for("it is on again", lambda: self.fetch(ids[3]).status == "ok")
        self.assertEqual(len(self.files()), 1)


class Rights(Case):
    def test_no_other(self):
        """Who holds no notification gets the answer of what does not exist, cached or not."""
        message = text(100000)
        identity = self.announce(message)
        cursor = self.cursor(identity)
        eve = self.reader("eve")
        def asked(number):
            done = eve.call("fetch", cursor=number, type="all", offset=0, length=0)
            return done.expect("noSuchMessage").octets
        before = asked(cursor)
        self.assertEqual(self.store.asked, [])
        self.assertFetches(identity, message)
        self.assertEqual(asked(cursor), before)
        self.assertEqual(asked(cursor + 1000), before)
        self.assertEqual(len(self.store.asked), 1)

    def test_digest_alone(self):
        """Another store that announces the same digest does not open what the first one sent."""
        message = text(100000)
        self.assertFetches(self.announce(message), message)
        stolen = self.announce(message, "eve", domain="c.example")
        self.fetch(stolen, "eve").expect("tryLater")    # nobody is there
        self.assertEqual(len(self.store.asked), 1)

    def test_over(self):
        """Withdrawn, acknowledged, expired."""
        message = text(1000)
        withdrawn, acknowledged = self.announce(message), self.announce(message)
        expired = self.announce(message, expires=int((time.time() + 3600) * 1e6))
        self.assertFetches(withdrawn, message)
        cursor = self.cursor(acknowledged)
        self.reader().call("acknowledge", cursors=[cursor]).expect("ok")
        self.reader().call("fetch", cursor=cursor, type="all", offset=0,
                           length=0).expect("noSuchMessage")
        self.notifier.call("withdraw", notifications=[{
            "recipient": wire.mailbox("bob@b.example"), "id": withdrawn}]).expect("ok")
        self.fetch(withdrawn).expect("withdrawn")
        self.assertFetches(expired, message)
        self.assertEqual(len(self.store.asked), 1)

    def test_no_digest(self):
        self.fetch(self.announce(text(10), digest=None)).expect("unsupported")
        self.assertEqual(self.store.asked, [])

    def test_other_size(self):
        """The same digest under another size."""
        message = text(1000)
        self.assertFetches(self.announce(message), message)
        self.fetch(self.announce(message, size=999)).expect("digestMismatch")


class Unverified(Case):
    settings = {"unverified": "keep"}

    def test_by_id(self):
        """Where nobody proved who announces, a copy is for those with the same id alone: a forged
        notification with another's digest opens nothing."""
        message = text(100000)
        bob = self.announce(message)
        self.assertFetches(bob, message)
        self.notifier = self.kept(self.agent.client("rnasp"))
        forged = self.announce(message, "eve")
        del self.store.messages[forged]
        self.fetch(forged, "eve").expect("noSuchMessage")
        first, second = self.announce(message, "bob", "eve")
        self.assertFetches(first, message)
        self.assertFetches(first, message)
        self.assertFetches(second, message, "eve")
        self.assertEqual([identity for identity, _ in self.store.asked],
                         [bob, forged, first, second])
        self.assertEqual(len(self.files()), 3)


class Expiry(Case):
    def prepare(self):
        self.site.fake_clock()

    def test_expired(self):
        message = text(1000)
        identity = self.announce(message, expires=int((self.site.clock.now() + 3600) * 1e6))
        cursor = self.cursor(identity)
        self.assertFetches(identity, message)
        self.site.clock.move(3601)
        never = self.reader().call("fetch", cursor=99, type="all", offset=0, length=0)
        done = self.reader().call("fetch", cursor=cursor, type="all", offset=0, length=0)
        self.assertEqual(done.expect("noSuchMessage").octets, never.octets)


class Trouble(Case):
    domains = ["a.example"] + [f"lie{i}.example" for i in range(7)]

    def fails(self, identity, status, words=""):
        done = self.fetch(identity).expect(status)
        self.assertIn(words, done.text or "")
        self.assertEqual(self.files(), [])
        return done

    def test_lies(self):
        """Other octets, more, fewer, other ranges, no sense: nothing of it is handed out."""
        message = text(100000)
        other = message[:70000] + b"?" + message[70001:]
        say = self.store.say
        lies = {
            "octets": lambda p, m, o: say(p, "retrieve", size=len(m), offset=o, data=other),
            "more": lambda p, m, o: say(p, "retrieve", size=len(m) + 1, offset=o, data=m + b"?"),
            "fewer": lambda p, m, o: say(p, "retrieve", size=len(m), offset=o, data=m[:-1]),
            "offset": lambda p, m, o: say(p, "retrieve", size=len(m), offset=1, data=m[1:]),
            "another answer": lambda p, m, o: say(p, "querySize", size=len(m), headers=3),
            "no PDU": lambda p, m, o: p.send_raw(wire.frame(b"\xff" * 40)),
            "empty": lambda p, m, o: p.send_raw(wire.frame(b"")),
        }
        for domain, (what, lie) in zip(self.domains[1:], lies.items()):
            with self.subTest(what):
                identity = self.announce(message, domain=domain)
                self.store.answers[identity] = lie
                self.fails(identity, "digestMismatch", domain)
        self.assertEqual(len(self.store.asked), len(lies))

    def test_says(self):
        """What a store answers is passed on."""
        for status, passed in (("noSuchMessage", "noSuchMessage"), ("withdrawn", "withdrawn"),
                               ("unsupported", "notPermitted")):
            with self.subTest(status):
                identity = self.announce(text(1000, status.encode()))
                self.store.answers[identity] = (
                    lambda p, m, o, s=status: self.store.say(p, status=s, text="because"))
                self.fails(identity, passed, "because")

    def test_down(self):
        """It is not asked again for a while, and others are."""
        self.store.server.close()
        first, second = self.announce(text(10)), self.announce(text(11))
        done = self.fails(first, "tryLater", "a.example")
        self.assertEqual(done.retry_after, 3600)
        done = self.fails(second, "tryLater", "not asked again yet")
        self.assertGreater(done.retry_after, 3000)
        self.assertEqual(self.count('pulls_total{result="failed"}'), 1)

    def test_cut_off(self):
        """What was pulled before a connection broke is not asked for again."""
        message = text(3 << 20, b"cut off")
        identity = self.announce(message)

        def cut(peer, message, offset):
            octets = wire.frame(wire.response("msrap", "retrieve", {
                "size": len(message), "offset": offset, "data": message[offset:]}))
            if offset > 2 << 20:
                peer.send_raw(octets)
            else:
                peer.send_raw(octets[:(1 << 20) + 50000])
                peer.close()
        self.store.answers[identity] = cut
        self.assertFetches(identity, message)
        offsets = [offset for _, offset in self.store.asked]
        self.assertEqual(offsets[0], 0)
        self.assertTrue(offsets[1] > 0, offsets)

    def test_private(self):
        """No address of one's own that a stranger's DNS names."""
        server = self.site.dns({"example": dns.zone("example", f"""
_im2000-msrap._tcp.c SRV 0 0 {self.store.server.address[1]} here.example.
here A 127.0.0.1
""")})
        self.agent.set(dns_server=server.address)
        self.agent.restart()
        self.connect()
        self.fails(self.announce(text(10), domain="c.example"), "notPermitted", "private")
        self.assertEqual(self.store.asked, [])


class Slow(Case):
    settings = {"pull_silence": "2s", "pull_time": "4s", "pull_again": "1s"}

    def test_slow(self):
        """One that says nothing, and one that says an octet now and then."""
        message = text(100000)
        silent = self.announce(message)
        self.store.answers[silent] = lambda p, m, o: time.sleep(10)
        self.fetch(silent).expect("tryLater")

        def drip(peer, message, offset):
            octets = wire.frame(wire.response("msrap", "retrieve", {
                "size": len(message), "offset": offset, "data": message}))
            for i in range(200):
                peer.send_raw(octets[i:i + 1])
                time.sleep(0.1)

        slow = self.announce(text(100000, b"slow"))
        self.store.answers[slow] = drip
        harness.wait_for("the store is asked again", lambda: self.fetch(slow).text and any(
            identity == slow for identity, _ in self.store.asked))
        self.assertEqual(self.files(), [])


class Together(Case):
    def test_one_pull(self):
        """Readers at once cause one pull; the one whose id is void does not spoil it."""
        message = text(1 << 20)
        names = ["bob", "eve"] + [f"r{i}" for i in range(6)]
        self.mailboxes(*names[2:])
        ids = self.announce(message, *names)
        cursors = [self.cursor(i, n) for i, n in zip(ids, names)]
        self.store.gate.clear()
        void = ids[0]
        self.store.answers[void] = lambda p, m, o: (
            self.store.gate.wait(harness.PATIENCE), self.store.say(p, status="withdrawn"))
        for name, cursor in zip(names, cursors):
            self.reader(name).send("fetch", cursor=cursor, type="all", offset=0, length=0)
            if name == "bob":
                harness.wait_for("the store is asked", lambda: self.store.asked == [(void, 0)])
        # One of them leaves.
        self.reader(names[-1]).close()
        harness.wait_for("all wait", lambda: self.count('fetches_total{result="miss"}') == 8)
        self.store.gate.set()
        self.reader("bob").recv().expect("withdrawn")
        for name in names[1:-1]:
            self.assertTrue(self.reader(name).recv().expect("ok").data["data"] == message)
        self.assertEqual(len(self.store.asked), 2)

    def test_nobody_waits(self):
        """A message that nobody waits for any more is not pulled on."""
        message = text(1 << 20)
        identity = self.announce(message)
        cursor = self.cursor(identity)
        self.store.gate.clear()
        self.reader().send("fetch", cursor=cursor, type="all", offset=0, length=0)
        harness.wait_for("the store is asked", lambda: self.store.asked)
        self.reader().close()
        self.readers.clear()
        harness.wait_for("it is given up", lambda: "result=dropped" in self.agent.log())
        self.store.gate.set()
        self.assertFetches(identity, message)
        self.assertEqual(len(self.store.asked), 2)

    def test_limits(self):
        """Sixteen readers of one mailbox wait, and eight pulls from one store are under way."""
        messages = [text(1000, b"%d" % i) for i in range(17)]
        cursors = [self.cursor(self.announce(m)) for m in messages]
        readers = [self.fresh_reader() for _ in cursors]
        self.store.gate.clear()
        for n, (reader, cursor) in enumerate(zip(readers, cursors)):
            reader.send("fetch", cursor=cursor, type="all", offset=0, length=0)
            harness.wait_for("it is asked", lambda n=n: self.count(
                'fetches_total{result="miss"}') == n + 1)
        readers[-1].recv().expect("tryLater")
        harness.wait_for("eight are asked for", lambda: len(self.store.asked) == 8)
        # Another mailbox is no part of that; its pull waits for the same store.
        eve = self.announce(text(1000, b"eve"), "eve")
        cursor = self.cursor(eve, "eve")
        self.reader("eve").send("fetch", cursor=cursor, type="all", offset=0, length=0)
        harness.wait_for("she is asked", lambda: self.count(
            'fetches_total{result="miss"}') == 18)
        self.assertEqual(len(self.store.asked), 8)
        self.store.gate.set()
        for reader, message in zip(readers, messages[:-1]):
            self.assertEqual(reader.recv().expect("ok").data["data"], message)
        self.reader("eve").recv().expect("ok")

    def test_stop(self):
        """A reader who waits does not keep the agent from stopping."""
        identity = self.announce(text(1000))
        cursor = self.cursor(identity)
        self.store.gate.clear()
        self.reader().send("fetch", cursor=cursor, type="all", offset=0, length=0)
        harness.wait_for("the store is asked", lambda: self.store.asked)
        self.assertEqual(self.agent.stop(), 0)


class Person(pulls.Played):
    """im2000 with fetch-via."""

    MESSAGE = (b"From: alice@a.example\r\nSubject: Hello\r\n\r\n" + b"0123456789\r\n" * 20000)

    def play_via(self, via, cache="4M"):
        self.play()
        self.b.set(pull_cache=cache, pull_again="1s",
                   route=[f"a.example msrap {harness.endpoint(self.server.address)}"])
        self.b.restart()
        self.bob.account["fetch-via"] = via
        self.announce({"message": self.MESSAGE})

    def raw(self, **more):
        return self.bob.run("read", "1", "--raw", text=False, **more)

    def damage(self):
        """The agent's copy is another one now, and the agent does not see it."""
        path, = glob.glob(os.path.join(self.b.data, "cache", "*"))
        before = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(1000)
            file.write(b"?")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def doctor(self):
        """What it says of the pull cache: whether all is well, and whether it says why not."""
        done = self.bob.run("doctor", "--json", status=None)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [(r["ok"], "no pull cache" in (r["text"] or "")) for r in found
                if r["check"] == "pull cache"]

    def test_agent(self):
        """The store sees one pull, and no word of the reader; he reads on when it is gone."""
        self.play_via("agent")
        self.assertEqual(self.doctor(), [(True, False)])
        self.assertIn("0123456789", self.bob.run("read", "1").stdout)
        self.assertEqual(self.raw().stdout, self.MESSAGE)
        self.assertEqual([name for name, _ in self.asked], ["retrieve"])
        self.assertEqual(self.server.connections, 1)
        self.server.close()
        os.remove(os.path.join(self.bob.folder, "data", "cache", "1.eml"))
        self.assertEqual(self.raw().stdout, self.MESSAGE)

    def test_no_cache(self):
        """What the agent cannot is an error; the store is not contacted in its place."""
        self.play_via("agent", cache=None)
        done = self.bob.run("read", "1", status=1)
        self.only(done, "through b.example.*no pull cache")
        self.assertEqual((self.asked, done.stdout), ([], ""))
        self.assertEqual(self.doctor(), [(False, True)])

    def test_or_store(self):
        """Unless that is allowed; then it is said."""
        self.play_via("agent-or-store", cache=None)
        done = self.bob.run("read", "1")
        self.assertIn("0123456789", done.stdout)
        self.only(done, "no pull cache.*it is read at a.example itself")
        self.assertTrue(self.retrieved()[0]["proof"])
        done = self.raw()
        self.assertEqual(done.stdout, self.MESSAGE)
        self.assertIn(b"it is read at a.example itself", done.stderr)

    def test_agent_lies(self):
        """The digest is the reader's to check."""
        self.play_via("agent")
        self.raw()
        os.remove(os.path.join(self.bob.folder, "data", "cache", "1.eml"))
        self.damage()
        done = self.bob.run("read", "1", status=1)
        self.only(done, "what b.example sent does not match")
        self.assertEqual((done.stdout, self.cache()), ("", []))
        self.bob.account["fetch-via"] = "agent-or-store"
        self.assertEqual(self.raw().stdout, self.MESSAGE)
        # Where it does see it, it pulls the message again.
        path, = glob.glob(os.path.join(self.b.data, "cache", "*"))
        os.utime(path)
        self.bob.account["fetch-via"] = "agent"
        os.remove(os.path.join(self.bob.folder, "data", "cache", "1.eml"))
        self.assertEqual(self.raw().stdout, self.MESSAGE)
        self.assertEqual(self.b.check(), [])

    def test_store_fails(self):
        """Why the agent could not is passed on, with the exit status of what may get well."""
        self.play_via("agent")
        self.server.close()
        done = self.bob.run("read", "1", status=75)
        self.only(done, "through b.example.*a.example msrap")

    def test_withdrawn(self):
        """That goes for the store, too: it is not asked in vain."""
        self.play_via("agent-or-store")
        with self.b.client("rnasp", cert=self.cert[0], key=self.cert[1]) as client:
            client.call("withdraw", notifications=[{
                "recipient": wire.mailbox("bob@b.example"), "id": bytes(16)}]).expect("ok")
        self.bob.run("list")
        self.only(self.bob.run("read", "1", status=1), "withdrawn")
        self.assertEqual(self.asked, [])


if __name__ == "__main__":
    harness.main()

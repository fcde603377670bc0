"""MSOAP on the real store, as a client sees it that is cut off, or asks for more than it was
given the first time."""

# builds: plain asan
# time-limit: 600

import contextlib
import hashlib
import random
import threading
import time
import uuid

import harness
import wire


def message(subject, size=200):
    """A message of SIZE octets that no other subject has."""
    head = (b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: %b\r\n"
            b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n" % subject.encode())
    line = (subject.encode() * 80)[:76] + b"\r\n"
    return (head + line * (size // 78 + 1))[:max(size, len(head))]


def subject(header):
    for line in header.split(b"\r\n"):
        if line.startswith(b"Subject: "):
            return line[9:].decode()
    raise AssertionError(f"no subject in {header!r}")


def mailboxes(*names):
    return [wire.mailbox(name) for name in names]


def envelope(client, *recipients, **fields):
    """Says submitEnvelope and waits for nothing."""
    fields.setdefault("lifetime", 0)
    if recipients:
        fields["recipients"] = mailboxes(*recipients)
    client.send("submitEnvelope", fields)


def submit(client, octets, *recipients, **fields):
    """Submits a message whole; the answer to its envelope."""
    envelope(client, *recipients, size=len(octets), **fields)
    done = client.recv().expect("ok")
    client.call("submitChunk", isLast=True, offset=0, data=octets).expect("ok")
    return done.data


def deliveries(client, message_id, limit=None):
    """{recipient: Delivery} of a message, asked for by LIMIT at once."""
    found, fields = {}, {"id": message_id}
    if limit:
        fields["limit"] = limit
    while True:
        done = client.call("track", fields).expect("ok").data
        for delivery in done["deliveries"]:
            found.setdefault(wire.mailbox_text(delivery["recipient"]), delivery)
        if "next" not in done:
            return found
        fields["after"] = done["next"]


def statuses(client, message_id):
    """{recipient: notification status}"""
    return {name: d["notification"] for name, d in deliveries(client, message_id).items()}


def archive(client, **fields):
    """What the account keeps, over all pages: [ArchivedMessage]."""
    found, fields = [], {"after": 0, **fields}
    while True:
        done = client.call("archive", fields).expect("ok").data
        found += done["messages"]
        if "next" not in done:
            return found
        fields["after"] = done["next"]


class Msoap(harness.TestCase):
    def two(self, **settings):
        """The agent of b.example with bob, and the store of a.example with alice."""
        self.agent = self.site.notify("b.example")
        self.agent.mailbox("bob")
        self.store = self.site.store("a.example", **settings)
        self.store.account("alice")

    def wait_status(self, client, message_id, status, name="bob@b.example"):
        harness.wait_for(f"{name} is {status}",
                         lambda: statuses(client, message_id)[name] == status)

    def octets(self, message_id):
        with self.store.client("msrap") as client:
            done = client.call("retrieve", id=message_id, type="all", offset=0, length=0)
            return done.expect("ok").data["data"]

    def listed(self, name="bob"):
        """The notifications that a mailbox has."""
        with self.agent.reader(name) as reader:
            done = reader.call("retrieve", after=0, limit=1000).expect("ok")
            return [r["notification"] for r in done.data["notifications"]]

    def wait_listed(self, count, name="bob"):
        harness.wait_for(f"{name} has {count} notifications",
                         lambda: len(self.listed(name)) >= count)
        return self.listed(name)


class Resumption(Msoap):
    """A submission that is cut off anywhere is finished exactly once by saying it again."""

    SMALL, LARGE = 1000, 3000000

    # What the client gets to do before it is cut off. Each takes the submission and its client.

    def envelope_sent(self, s, client):
        self.say(s, client)

    def envelope_answered(self, s, client):
        self.say(s, client)
        client.recv().expect("ok")

    def one_chunk(self, s, client):
        self.envelope_answered(s, client)
        client.call("submitChunk", isLast=False, offset=0, data=s["octets"][:700]).expect("ok")

    def part_of_the_chunk(self, s, client):
        self.say(s, client)
        client.recv().expect("ok")
        whole = wire.frame(wire.command("msoap", "submitChunk", isLast=True, offset=0,
                                        data=s["octets"]))
        client.send_raw(whole[:len(whole) * 2 // 3])

    def all_but_an_octet(self, s, client):
        self.say(s, client)
        client.recv().expect("ok")
        whole = wire.frame(wire.command("msoap", "submitChunk", isLast=True, offset=0,
                                        data=s["octets"]))
        client.send_raw(whole[:-1])

    def all_but_the_end(self, s, client):
        self.envelope_answered(s, client)
        client.call("submitChunk", isLast=False, offset=0, data=s["octets"]).expect("ok")

    def all_in_one_flight(self, s, client):
        self.say(s, client)
        client.send("submitChunk", isLast=True, offset=0, data=s["octets"])

    def all_sent(self, s, client):
        self.envelope_answered(s, client)
        client.send("submitChunk", isLast=True, offset=0, data=s["octets"])

    def all_sent_and_a_while(self, s, client):
        self.all_sent(s, client)
        time.sleep(0.02)

    def all_answered(self, s, client):
        self.all_sent(s, client)
        client.recv().expect("ok")
        s["answered"] = True

    CUTS = (envelope_sent, envelope_answered, one_chunk, part_of_the_chunk, all_but_an_octet,
            all_but_the_end, all_in_one_flight, all_sent, all_sent_and_a_while, all_answered)

    def submission(self, name, size):
        return {"subject": name, "octets": message(name, size), "id": uuid.uuid4().bytes,
                "answered": False}

    def say(self, s, client):
        envelope(client, "bob@b.example", submissionId=s["id"], size=len(s["octets"]))

    def say_again(self, s):
        """Until the store has it; the originator's id."""
        while True:
            with self.store.originator("alice") as client:
                self.say(s, client)
                done = client.recv()
                if done.status == "tryLater":
                    time.sleep(0.05)
                    continue
                done.expect("ok")
                if done.data["complete"]:
                    self.assertEqual(done.data["received"], len(s["octets"]))
                    return done.data["id"]
                self.assertFalse(s["answered"], "it was finished before")
                at = done.data["received"]
                end = client.call("submitChunk", isLast=True, offset=at, data=s["octets"][at:])
                if end.status == "tryLater":
                    continue
                self.assertEqual(end.expect("ok").data["received"], len(s["octets"]))
                return done.data["id"]

    def cut(self, kill):
        self.two()
        wanted = {}
        for size in self.SMALL, self.LARGE:
            for cut in self.CUTS:
                name = f"{cut.__name__}-{size}"
                with self.subTest(name):
                    s = self.submission(name, size)
                    with self.store.originator("alice") as client:
                        cut(self, s, client)
                        if kill:
                            self.store.kill()
                    if kill:
                        self.store.start()
                    message_id = self.say_again(s)
                    self.assertEqual(self.say_again(s), message_id)
                    self.assertEqual(self.octets(message_id), s["octets"])
                    wanted[name] = message_id
        self.expect_listed(wanted)

    def expect_listed(self, wanted):
        found = [subject(n["header"]) for n in self.wait_listed(len(wanted))]
        self.assertEqual(sorted(found), sorted(wanted))
        stats, = self.store.admin("stats", "--json").stdout.splitlines()
        self.assertIn(f'"messages":{len(wanted)},', stats.replace(" ", ""))

    def test_cut_off(self):
        self.cut(kill=False)

    def test_store_killed(self):
        self.cut(kill=True)

    def test_killed_again_and_again(self):
        """One submission, during which the store is killed at any time, until it is through."""
        self.two()
        chance = random.Random(2000)
        wanted = {}
        for number in range(3):
            s = self.submission(f"again-{number}", self.LARGE)
            for _ in range(6):
                killer = threading.Timer(chance.random() * 0.1, self.store.kill)
                killer.start()
                try:
                    wanted[s["subject"]] = self.say_again(s)
                    s["answered"] = True
                except (OSError, wire.Closed):
                    pass
                killer.join()
                self.store.start()
            message_id = self.say_again(s)
            self.assertEqual(wanted.setdefault(s["subject"], message_id), message_id)
            self.assertEqual(self.octets(message_id), s["octets"])
        self.expect_listed(wanted)

    def test_octets_are_not_sent_again(self):
        """What the store said it holds it still has after a crash, but for its last pieces."""
        self.two()
        s = self.submission("held", self.LARGE)
        with self.store.originator("alice") as client:
            self.all_but_the_end(s, client)
            self.store.kill()
        self.store.start()
        with self.store.originator("alice") as client:
            self.say(s, client)
            done = client.recv().expect("ok")
            # Two megabytes at most are on their way to the disk, not one octet more.
            self.assertGreater(done.data["received"], self.LARGE // 4)
            self.assertEqual(done.data["received"] % 65536, 0)

    def test_another_message(self):
        """The same submissionId for another message."""
        self.two()
        s = self.submission("one", self.SMALL)
        self.say_again(s)
        with self.store.originator("alice") as client:
            envelope(client, "bob@b.example", submissionId=s["id"], size=self.SMALL + 1)
            client.recv().expect("digestMismatch", abort=True)
            envelope(client, "bob@b.example", submissionId=s["id"], digest=bytes(32))
            client.recv().expect("digestMismatch", abort=True)
        # Nor is it another account's.
        self.store.account("carol")
        with self.store.originator("carol") as client:
            self.say(s, client)
            done = client.recv().expect("ok")
            self.assertEqual((done.data["complete"], done.data["received"]), (False, 0))

    def test_quota_taken_by_itself(self):
        self.two()
        self.store.account("dora", quota="5M")
        s = self.submission("half", self.LARGE)
        with self.store.originator("dora") as client:
            for complete in False, True:
                self.say(s, client)
                self.assertEqual(client.recv().expect("ok").data["complete"], complete)
                if not complete:
                    client.call("submitChunk", isLast=True, offset=0,
                                data=s["octets"]).expect("ok")

    def test_partly_refused(self):
        self.two(max_recipients=3)
        to = ["bob@b.example", "bob@b..example", "anna@b.example", "carl@b.example"]
        want = ["acceptable", "badAddress", "acceptable", "tooMany"]
        octets = message("partly")
        with self.store.originator("alice") as client:
            for complete in False, True:
                envelope(client, *to, submissionId=b"p" * 16)
                done = client.recv().expect("ok").data
                self.assertEqual(done["recipients"], want)
                self.assertEqual(done["complete"], complete)
                if not complete:
                    client.call("submitChunk", isLast=True, offset=0, data=octets).expect("ok")
            self.assertEqual(set(deliveries(client, done["id"])),
                             {"bob@b.example", "anna@b.example"})
            envelope(client, "bob@b..example")
            client.recv().expect("notPermitted", abort=True)
            client.call("submitChunk", isLast=True, offset=0,
                        data=octets).expect("unexpectedCommand", abort=False)


class Drafts(Msoap):
    """What is held, or for later, is told to nobody."""

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()

    def test_draft(self):
        self.two()
        with self.store.originator("alice") as client:
            draft = submit(client, message("draft"), "bob@b.example", hold=True)["id"]
            found = deliveries(client, draft)["bob@b.example"]
            self.assertEqual(found["notification"], "held")
            self.assertNotIn("nextAttempt", found)
            self.assertEqual(self.octets(draft), message("draft"))
            # Something else gets through meanwhile.
            submit(client, message("letter"), "bob@b.example")
            self.assertEqual(subject(self.wait_listed(1)[0]["header"]), "letter")
        self.store.restart()
        with self.store.originator("alice") as client:
            self.assertEqual(statuses(client, draft), {"bob@b.example": "held"})
            client.call("release", id=draft).expect("ok")
            self.wait_status(client, draft, "notifying")
            client.call("release", id=draft).expect("ok")
            client.call("release", id=bytes(16)).expect("noSuchMessage")
        sent = [n for n in self.wait_listed(2) if subject(n["header"]) == "draft"]
        self.assertEqual(len(sent), 1)
        self.assertEqual(self.octets(sent[0]["id"]), message("draft"))

    def test_draft_to_nobody(self):
        self.two()
        with self.store.originator("alice") as client:
            draft = submit(client, message("draft"), hold=True)["id"]
            self.assertEqual(deliveries(client, draft), {})
            client.call("release", id=draft).expect("notPermitted", abort=False)
            self.assertEqual(self.octets(draft), message("draft"))

    def test_another_account(self):
        self.two()
        self.store.account("carol")
        with self.store.originator("alice") as client:
            draft = submit(client, message("draft"), "bob@b.example", hold=True)["id"]
            with self.store.originator("carol") as other:
                other.call("release", id=draft).expect("noSuchMessage")
            self.assertEqual(statuses(client, draft), {"bob@b.example": "held"})
            client.call("cancel", id=draft).expect("ok")
            client.call("release", id=draft).expect("withdrawn")

    def test_send_later(self):
        self.two()
        later = int((self.clock.now() + 3600) * 1000000)
        with self.store.originator("alice") as client:
            done = submit(client, message("later"), "bob@b.example", releaseAt=later)
            found = deliveries(client, done["id"])["bob@b.example"]
            self.assertEqual(found["notification"], "unprocessed")
            self.assertEqual(found["nextAttempt"], later)
            self.assertEqual(found["attempts"], 0)
            # Its lifetime begins then.
            self.assertEqual(done["expires"], later + 90 * 86400 * 1000000)
            self.clock.move(3500)
            submit(client, message("letter"), "bob@b.example")
            self.assertEqual(subject(self.wait_listed(1)[0]["header"]), "letter")
            self.assertEqual(deliveries(client, done["id"])["bob@b.example"]["attempts"], 0)
            self.clock.move(101)
            self.wait_status(client, done["id"], "notifying")
        self.assertEqual(len(self.listed()), 2)

    def test_killed_while_releasing(self):
        """A release of many is carried through, said again or not."""
        self.two()
        names = [f"r{i}@b.example" for i in range(5000)]
        chance = random.Random(2000)
        for number in range(4):
            with self.store.originator("alice") as client:
                draft = submit(client, message("many"), *names, hold=True)["id"]
                client.send("release", id=draft)
                time.sleep(chance.random() * 0.05)
                self.store.kill()
            self.store.start()
            with self.store.originator("alice") as client:
                if number % 2:
                    client.call("release", id=draft).expect("ok")
                    self.assertNotIn("held", statuses(client, draft).values())
                else:
                    self.clock.move(120)    # over the minute after which the sweep looks
                    # All of them, or, when it never came so far, none.
                    harness.wait_for("all are held or none is", lambda: len(
                        {s == "held" for s in statuses(client, draft).values()}) == 1)
                self.assertEqual(len(deliveries(client, draft)), 5000)
                client.call("cancel", id=draft).expect("ok")


class Archive(Msoap):
    """The sender's archive is the outgoing queue."""

    def test_pages(self):
        self.two()
        self.store.account("carol")
        with self.store.originator("alice") as client:
            self.assertEqual(archive(client), [])
            sent = [submit(client, message(f"letter{i}"), "bob@b.example", hold=i % 5 == 0)["id"]
                    for i in range(12)]
            client.call("cancel", id=sent.pop(7)).expect("ok")
            for limit in {}, {"limit": 1}, {"limit": 4}, {"limit": 100}:
                self.assertEqual([m["id"] for m in archive(client, **limit)], sent)
        self.store.restart()
        with self.store.originator("carol") as client:
            self.assertEqual(archive(client), [])
        with self.store.originator("alice") as client:
            found = archive(client, limit=5)
        self.assertEqual([m["id"] for m in found], sent)
        self.assertEqual([m["held"] for m in found],
                         [i % 5 == 0 for i in range(12) if i != 7])
        self.assertEqual([subject(m["header"]) for m in found],
                         [f"letter{i}" for i in range(12) if i != 7])
        for m in found:
            octets = self.octets(m["id"])
            self.assertEqual(m["size"], len(octets))
            self.assertEqual(hashlib.sha256(b"\0" + octets).digest(), m["digest"])
            self.assertIn('"TEXT" "PLAIN"', m["structure"].upper())
            self.assertLess(m["submitted"], m["expires"])

    def test_over(self):
        """What has outlived its time is kept no more."""
        clock = self.site.fake_clock()
        self.two()
        with self.store.originator("alice") as client:
            submit(client, message("short"), "bob@b.example", lifetime=3600)
            long = submit(client, message("long"), "bob@b.example", lifetime=86400)["id"]
            clock.move(4000)
            harness.wait_for("one is left",
                             lambda: [m["id"] for m in archive(client)] == [long])

    def test_many_recipients(self):
        """track, page by page."""
        self.two()
        names = [f"r{i}@b.example" for i in range(3000)]
        with self.store.originator("alice") as client:
            sent = submit(client, message("many"), *names, hold=True)["id"]
            for limit in None, 1000, 77, 1 << 40:
                self.assertEqual(set(deliveries(client, sent, limit)), set(names))
            done = client.call("track", id=sent, after=3000).expect("ok").data
            self.assertEqual(done, {"deliveries": []})


class Watch(Msoap):
    """Changes are told to all who wait, wherever they come from."""

    HOUR = 3600             # longer than anything here takes: what comes sooner was woken

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()

    def watch(self, client, after, wait=HOUR):
        """[(id, recipient, notification status)] and the cursor after them."""
        done = client.call("watch", after=after, wait=wait).expect("ok").data
        return [(c["id"], wire.mailbox_text(c["delivery"]["recipient"]),
                 c["delivery"]["notification"]) for c in done["changes"]], done["next"]

    def recipient(self, command, message_id, **fields):
        with self.store.client("msrap") as client:
            client.call(command, id=message_id, **fields).expect("ok")

    def test_woken(self):
        """By the agent's answer, the recipient, a cancellation and the end of a lifetime; each
        of several sessions, on whichever worker."""
        self.two(workers=4)
        self.store.account("carol")
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.store.originator("alice")) for _ in range(8)]
            carol = stack.enter_context(self.store.originator("carol"))
            carol.send("watch", after=0, wait=self.HOUR)
            own = stack.enter_context(self.store.originator("alice"))
            after = 0

            def everybody_sees(what, *wanted):
                nonlocal after
                for client in clients:
                    client.send("watch", after=after, wait=self.HOUR)
                what()
                for client in clients:
                    done = client.recv().expect("ok").data
                    self.assertEqual([
                        (c["delivery"]["notification"], c["delivery"]["read"],
                         c["delivery"]["pinned"]) for c in done["changes"]], list(wanted))
                    self.assertEqual({c["id"] for c in done["changes"]}, {sent["id"]})
                after = done["next"]

            sent = {}
            everybody_sees(lambda: sent.update(submit(own, message("one"), "bob@b.example")),
                           ("notifying", "unread", True))
            seen, = self.wait_listed(1)
            everybody_sees(lambda: self.recipient("silence", seen["id"]),
                           ("silenced", "unread", True))
            everybody_sees(lambda: self.octets(seen["id"]), ("silenced", "readAll", True))
            everybody_sees(lambda: self.recipient("unPin", seen["id"]),
                           ("silenced", "readAll", False))
            everybody_sees(lambda: sent.update(submit(own, message("two"), "bob@b.example")),
                           ("notifying", "unread", True))
            everybody_sees(lambda: own.call("cancel", id=sent["id"]).expect("ok"),
                           ("withdrawn", "unread", False))
            # The agent is told, which is a change of the number of attempts.
            everybody_sees(lambda: None, ("withdrawn", "unread", False))
            everybody_sees(lambda: sent.update(submit(own, message("three"), "bob@b.example",
                                                      lifetime=60)),
                           ("notifying", "unread", True))
            everybody_sees(lambda: self.clock.move(61), ("expired", "unread", False))
            # None of it was another account's affair.
            carol.call("archive", after=0).expect("ok")
            self.assertEqual(carol.recv().name, "archive")

    def test_nothing_missed(self):
        """A client that comes and goes while the store is killed sees every change."""
        self.two()
        wanted, seen, after = set(), set(), 0
        for number in range(6):
            with self.store.originator("alice") as client:
                for i in range(5):
                    sent = submit(client, message(f"{number}-{i}"), "bob@b.example")
                    wanted.add(sent["id"])
                if number % 2 == 0:
                    changes, after = self.watch(client, after)
                    seen.update(c[0] for c in changes if c[2] == "notifying")
            if number % 3 == 2:
                self.store.kill()
                self.store.start()
        while seen != wanted:
            with self.store.originator("alice") as client:
                changes, next_after = self.watch(client, after)
                self.assertGreater(next_after, after)
                after = next_after
                seen.update(c[0] for c in changes if c[2] == "notifying")

    def test_ended(self):
        """By another command, its time, and the end of the daemon."""
        self.two()
        with self.store.originator("alice") as client:
            sent = submit(client, message("one"), "bob@b.example")
            _, after = self.watch(client, 0)
            client.send("watch", after=after, wait=self.HOUR)
            client.send("track", id=sent["id"])
            self.assertEqual(client.recv().expect("ok").data, {"changes": [], "next": after})
            self.assertEqual(len(client.recv().expect("ok").data["deliveries"]), 1)
            self.assertEqual(self.watch(client, after, wait=1), ([], after))
            self.assertEqual(self.watch(client, after, wait=0), ([], after))
            client.send("watch", after=after, wait=self.HOUR)
            self.store.stop()
            self.assertEqual(client.recv().expect("ok").data, {"changes": [], "next": after})
        self.store.start()
        self.store.set(wait_time="1s")
        self.store.restart()
        with self.store.originator("alice") as client:
            self.assertEqual(self.watch(client, after), ([], after))
            client.send("watch", after=after, wait=self.HOUR)
            # A client that goes away while it waits is no trouble.

    def test_log_is_trimmed(self):
        self.two()
        with self.store.originator("alice") as client:
            for i in range(3):
                submit(client, message(str(i)), "bob@b.example")
            for seen in self.wait_listed(3):
                self.recipient("silence", seen["id"])   # so that nothing is repeated
            harness.wait_for("all is told",
                             lambda: len(self.watch(client, 0, wait=0)[0]) == 6)
            self.assertIsNone(client.call("watch", after=0, wait=0).expect("ok").text)
        self.clock.move(31 * 86400)
        self.store.restart()
        with self.store.originator("alice") as client:
            # The last one stays, so that cursors go on from it.
            harness.wait_for("old changes are gone",
                             lambda: len(self.watch(client, 0, wait=0)[0]) == 1)
            done = client.call("watch", after=1, wait=0).expect("ok")
            self.assertIn("30 days", done.text)
            last = client.call("watch", after=done.data["next"], wait=0).expect("ok")
            self.assertIsNone(last.text)
            self.assertEqual(last.data["changes"], [])


if __name__ == "__main__":
    harness.main()

"""MSOAP on the real store: submissions that are cut off, drafts, and what is for later."""

# builds: plain asan
# time-limit: 600

import json
import random
import threading
import time
import uuid

import harness
import wire
from submissions import Msoap, deliveries, envelope, message, statuses, subject, submit


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

    def test_back_at_once(self):
        """Who closes and says the envelope again has the id and the octets of before,
        although the store may not have seen the end, nor written what came until then."""
        self.two()
        for i in range(40):
            size = (65536, 10, 200000, 300000, 0)[i % 5]
            s = self.submission(f"back-{i}", 400000)
            first, received = None, 0
            for _ in range(2):
                with self.store.originator("alice") as client:
                    self.say(s, client)
                    done = client.recv().expect("ok")
                    self.assertEqual(done.data["received"], received)
                    self.assertIn(first, (None, done.data["id"]))
                    first = done.data["id"]
                    if received == 0 and size > 0:
                        client.call("submitChunk", isLast=False, offset=0,
                                    data=s["octets"][:size]).expect("ok")
                        received = size
            self.assertEqual(self.octets(self.say_again(s)), s["octets"])
        self.store.admin("check")

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

    def accounts(self):
        done = self.store.admin("account", "list", "--json")
        return {a["account"]: a for a in map(json.loads, done.stdout.splitlines())}

    def test_quota_is_reserved(self):
        """Two devices at once; what was promised lasts over a crash as the submission does, and
        is free again when the store has forgotten that."""
        clock = self.site.fake_clock()
        self.two(metrics="127.0.0.1:0", resume_time="1h")
        self.store.account("dora", quota="5M")
        size = 3 << 20
        octets = message("phone", size)
        phone, desk = self.store.originator("dora"), self.store.originator("dora")
        self.addCleanup(lambda: (phone.close(), desk.close()))
        envelope(phone, "bob@b.example", submissionId=b"p" * 16, size=size)
        phone.recv().expect("ok")
        self.assertEqual(self.store.metrics()["im2000_store_promised_octets"], size)
        envelope(desk, "bob@b.example", size=(2 << 20) + 1)
        desk.recv().expect("wouldExceedQuota", abort=True)
        envelope(desk, "bob@b.example", size=1 << 20)
        desk.recv().expect("ok")
        phone.call("submitChunk", isLast=False, offset=0, data=octets[:2 << 20]).expect("ok")
        harness.wait_for("octets are in the database", lambda: self.accounts()["dora"]["used"])
        for s in phone, desk:
            s.close()
        harness.wait_for("both sessions are over", lambda: self.store.metrics()[
            "im2000_store_promised_octets"] == 0)
        self.store.kill()
        self.store.start()

        # The desk's went with its session, the phone's did not.
        dora = self.accounts()["dora"]
        self.assertEqual(dora["used"], size)
        self.assertIn(dora["reserved"], range(1, size))
        stats = json.loads(self.store.admin("stats", "--json").stdout)
        self.assertEqual(stats["reserved-octets"], dora["reserved"])
        self.assertEqual(self.accounts()["alice"]["reserved"], 0)
        desk = self.store.originator("dora")
        envelope(desk, "bob@b.example", size=(2 << 20) + 1)
        desk.recv().expect("wouldExceedQuota", abort=True)
        envelope(desk, "bob@b.example", size=2 << 20)
        desk.recv().expect("ok")
        phone = self.store.originator("dora")
        envelope(phone, "bob@b.example", submissionId=b"p" * 16, size=size)
        self.assertGreater(phone.recv().expect("ok").data["received"], 0)
        for s in phone, desk:
            s.close()
        clock.move(2 * 3600)
        harness.wait_for("the submission is forgotten",
                         lambda: self.accounts()["dora"]["used"] == 0)
        self.assertEqual(self.accounts()["dora"]["reserved"], 0)
        desk = self.store.originator("dora")
        envelope(desk, "bob@b.example", size=5 << 20)
        desk.recv().expect("ok")

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


if __name__ == "__main__":
    harness.main()

"""The agent's disk is cut off at each write, by a kill or a power cut: what was accepted is listed
once, what was acknowledged is not, and nothing is listed that was not told.

IM2000_SEED=N takes other pages back than usual (disk.c)."""

# builds: plain asan
# time-limit: 600

import os

import disk
import harness
import wire

SEED = int(os.environ.get("IM2000_SEED", "0"))
MOST = 300      # calls of one piece of work; far more than any makes
BOXES = [f"{name}@b.example" for name in ("anna", "bob", "carl", "dora")]


class Cuts(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()
        self.agent = self.site.notify("b.example", start=False, retention="1h")
        # Tokens: a password costs the time that the tests have.
        self.token = {box: self.agent.admin("mailbox", "add", box, "--token").stdout.strip()
                      for box in BOXES}
        self.disk = disk.Disk(self.site)
        self.start()
        self.cert = self.site.authority.issue("a.example", usage="serverAuth")
        self.listed = {box: set() for box in BOXES}     # ids that must be listed
        self.maybe = {box: set() for box in BOXES}      # and those of which nobody was told

    def start(self):
        self.agent.start(self.disk.environment())

    def store(self):
        return self.agent.client("rnasp", cert=self.cert[0], key=self.cert[1])

    def cuts(self, work, settle, step=1):
        """As in test_cuts.py."""
        step *= 1 if harness.sanitizer() == "plain" else 3
        for n in range(1 + SEED % step, MOST, step):
            self.disk.stop_at(n, SEED + n)
            try:
                work(n)
            except (OSError, wire.Closed):
                self.assertTrue(self.disk.stopped(), self.agent.log()[-3000:])
            self.disk.well()
            if not self.disk.stopped():
                print(f"{self.id()}: seed {SEED}, through at call {n}", flush=True)
                self.assertGreater(n, 3)
                self.check_listed()
                return
            self.assertEqual(self.agent.ended(), -9)
            self.disk["stopped"] = 0
            self.agent.admin("check")
            self.start()
            self.check_listed()
            settle(n)
        self.fail("it is never through")

    # ---- what is told and listed

    def reader(self, box):
        return self.agent.reader(box, self.token[box])

    def found(self, box):
        """{id: cursor} of what a mailbox lists; each is there once."""
        with self.reader(box) as reader:
            all_, after = [], 0
            while True:
                done = reader.call("retrieve", after=after, limit=1000).expect("ok").data
                if not done["notifications"]:
                    break
                all_ += done["notifications"]
                after = done["next"]
        found = {x["notification"]["id"]: x["cursor"] for x in all_}
        self.assertEqual(len(found), len(all_))
        return found

    def check_listed(self):
        for box in BOXES:
            found = set(self.found(box))
            self.assertLessEqual(self.listed[box], found)
            self.assertLessEqual(found, self.listed[box] | self.maybe[box])

    def note(self, box, identity):
        return wire.notification("a.example", box, identity, "alice@a.example",
                                 header=b"Subject: " + identity.hex().encode() * 20 + b"\r\n\r\n")

    def tell(self, client, command, pairs):
        """Tells PAIRS of (mailbox, id) by `notify` or `notifyMany`; all are accepted."""
        for box, identity in pairs:
            self.maybe[box].add(identity)
        if command == "notify":
            fields = {"notifications": [self.note(*pair) for pair in pairs]}
        else:
            fields = {"common": self.note(*pairs[0]), "addressees": [
                {"recipient": wire.mailbox(box), "id": identity} for box, identity in pairs]}
        done = client.call(command, fields).expect("ok")
        self.assertEqual(set(done.data["results"]), {"accepted"})
        for box, identity in pairs:
            self.listed[box].add(identity)

    def fill(self, count):
        """COUNT more for each mailbox."""
        with self.store() as client:
            for _ in range(count):
                self.tell(client, "notifyMany", [(box, os.urandom(16)) for box in BOXES])


class Intake(Cuts):
    def told(self, command):
        pairs = []

        def work(n):
            pairs[:] = [(box, os.urandom(16)) for box in BOXES for _ in range(10)]
            with self.store() as client:
                self.tell(client, command, pairs)
                self.tell(client, "notify", [(BOXES[n % len(BOXES)], os.urandom(16))])

        def settle(_n):
            # Nobody was told that it is there: the store says it again.
            with self.store() as client:
                self.tell(client, command, pairs)
            self.check_listed()

        self.cuts(work, settle)

    def test_notify(self):
        self.told("notify")

    def test_notify_many(self):
        self.told("notifyMany")

    def test_withdraw(self):
        """Marked or not, but listed once, with the cursor that tells of it."""
        marked = set()

        def withdraw(identity):
            with self.store() as client:
                client.call("withdraw", notifications=[
                    {"recipient": wire.mailbox(box), "id": identity[box]} for box in BOXES]
                    ).expect("ok")
            marked.update(identity.values())

        def look():
            for box in BOXES:
                with self.reader(box) as reader:
                    done = reader.call("retrieve", after=0, limit=1000).expect("ok").data
                    seen = {x["notification"]["id"] for x in done["notifications"]
                            if x.get("withdrawn")}
                    self.assertLessEqual(marked & self.listed[box], seen)
                    self.assertLessEqual(seen, tried)

        def work(_n):
            identity = {box: os.urandom(16) for box in BOXES}
            with self.store() as client:
                self.tell(client, "notifyMany", list(identity.items()))
            tried.update(identity.values())
            withdraw(identity)

        tried = set()
        self.cuts(work, lambda n: look())
        look()


class Reading(Cuts):
    def test_acknowledge(self):
        """What was answered is gone for ever; else it is gone or there, as a whole."""
        self.fill(150)

        def work(n):
            box = BOXES[n % len(BOXES)]
            found = self.found(box)
            gone = set(sorted(found)[:3])
            with self.reader(box) as reader:
                self.take(box, gone, lambda: reader.call(
                    "acknowledge", cursors=[found[i] for i in gone]).expect("ok"))

        self.cuts(work, lambda n: self.settle_taken())

    def take(self, box, gone, act):
        self.listed[box] -= gone
        self.maybe[box] |= gone
        self.taken = box, gone
        act()
        self.maybe[box] -= gone

    def settle_taken(self):
        """Of what was not answered it is all or nothing; it stays as it is."""
        box, gone = self.taken
        there = gone & set(self.found(box))
        self.assertIn(there, (gone, set()))
        self.maybe[box] -= gone
        self.listed[box] |= there

    def test_retrieve_and_clear(self):
        self.fill(2)

        def work(n):
            box = BOXES[n % len(BOXES)]
            with self.reader(box) as reader:
                self.take(box, set(self.listed[box]),
                          lambda: reader.call("retrieveAndClear").expect("ok"))

        def settle(_n):
            self.settle_taken()
            self.fill(2)

        self.cuts(work, settle)

    def test_retention(self):
        """What has outlived its time goes, whatever the sweep is cut off at. It looks at each
        start, and once a minute of real time."""
        self.fill(3)
        for n in range(1, MOST):
            self.clock.move(3601)
            for box in BOXES:
                self.maybe[box] |= self.listed[box]
                self.listed[box] = set()
            self.agent.kill()
            self.disk.stop_at(n, SEED + n)
            try:
                self.start()
                self.agent.stop()
            except harness.Failed:
                self.assertTrue(self.disk.stopped(), self.agent.log()[-3000:])
            through = not self.disk.stopped()
            self.disk.well()
            self.disk["stopped"] = 0
            self.agent.kill()
            self.agent.admin("check")
            self.start()
            self.check_listed()
            if through:
                break
            self.fill(3)
        print(f"{self.id()}: seed {SEED}, through at call {n}", flush=True)
        self.assertTrue(through)
        for box in BOXES:
            self.assertEqual(self.found(box), {})


if __name__ == "__main__":
    harness.main()

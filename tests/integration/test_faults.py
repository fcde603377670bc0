"""Daemons that are killed in the middle of their work: what was answered is there and gets
listed once, what was not submitted is not listed."""

# builds: plain asan
# time-limit: 600

import random
import re
import threading
import time

import harness
import wire

ROUNDS = 10             # kills of each daemon
SUBMISSIONS = 200       # in each round
SUBMITTERS = 4          # at once
SUBJECT = re.compile(rb"^Subject: (\S+)\r\n", re.MULTILINE)


class Submitter(threading.Thread):
    """Submits messages with the subjects given, one after another, over one connection that it
    opens again whenever it breaks. A subject goes to `answered` once the store has said yes to
    its last octet, and to `attempted` before anything is sent."""

    def __init__(self, store, subjects):
        super().__init__(daemon=True)
        self.store = store
        self.subjects = subjects
        self.attempted, self.answered, self.refused = [], [], []
        self.client = None

    def run(self):
        for subject in self.subjects:
            self.attempted.append(subject)
            try:
                self.client = self.client or self.connect()
                self.submit(subject)
                self.answered.append(subject)
            except (OSError, wire.Closed):
                self.drop()
            except AssertionError as e:
                self.refused.append((subject, e))
                self.drop()
        self.drop()

    def connect(self):
        deadline = time.monotonic() + harness.PATIENCE
        while True:
            try:
                return self.store.originator("alice")
            except (OSError, wire.Closed):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def submit(self, subject):
        message = (b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: %b\r\n\r\n%b"
                   % (subject, subject * 100))
        self.client.send("submitEnvelope", recipients=[wire.mailbox("bob@b.example")],
                         lifetime=0, size=len(message))
        self.client.send("submitChunk", isLast=True, offset=0, data=message)
        self.client.recv().expect("ok")
        self.client.recv().expect("ok")

    def drop(self):
        if self.client:
            self.client.close()
        self.client = None


class Kill(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()
        self.notify = self.site.notify("b.example", mailbox_notifications=100000,
                                       origin_notifications=100000)
        self.notify.mailbox("bob")
        self.store = self.site.store("a.example")
        self.store.account("alice")
        self.random = random.Random(2000)

    def round_of(self, number, victim):
        """One round: SUBMISSIONS submissions, during which VICTIM is killed once and comes back."""
        each = SUBMISSIONS // SUBMITTERS
        threads = [
            Submitter(self.store, [b"round%d-%d-%d" % (number, s, i) for i in range(each)])
            for s in range(SUBMITTERS)]
        for thread in threads:
            thread.start()
        # Anywhere in the work, by how much of it is done.
        goal = self.random.randrange(1, SUBMISSIONS * 3 // 4)
        harness.wait_for("submissions go on",
                         lambda: sum(len(t.attempted) for t in threads) >= goal)
        time.sleep(self.random.random() * 0.005)
        victim.kill()
        victim.start()
        for thread in threads:
            thread.join(harness.PATIENCE)
            self.assertFalse(thread.is_alive())
            self.assertEqual(thread.refused, [])
        return threads

    def listed(self):
        """How often each subject is listed."""
        found = {}
        with self.notify.reader("bob") as reader:
            after = 0
            while True:
                done = reader.call("retrieve", after=after, limit=1000).expect("ok")
                if not done.data["notifications"]:
                    return found
                for received in done.data["notifications"]:
                    subject = SUBJECT.search(received["notification"]["header"]).group(1)
                    found[subject] = found.get(subject, 0) + 1
                after = done.data["next"]

    def settle(self, answered):
        """Moves the clock over the retries until all that was answered is listed."""
        deadline = time.monotonic() + harness.PATIENCE
        while True:
            found = self.listed()
            missing = [subject for subject in answered if subject not in found]
            if not missing or time.monotonic() > deadline:
                return found, missing
            self.clock.move(120)
            time.sleep(1)

    def kill_ten_times(self, victim):
        attempted, answered = set(), set()
        for number in range(ROUNDS):
            for thread in self.round_of(number, victim):
                attempted.update(thread.attempted)
                answered.update(thread.answered)
        found, missing = self.settle(answered)
        self.assertEqual(missing, [])
        self.assertEqual([s for s in found if s not in attempted], [])
        self.assertEqual([s for s, n in found.items() if n != 1], [])
        # Kills cut submissions off, but most of the work was done.
        self.assertGreater(len(answered), ROUNDS * SUBMISSIONS // 2)
        self.store.stop()
        self.notify.stop()
        self.store.admin("check")
        self.notify.admin("check")

    def test_store(self):
        self.kill_ten_times(self.store)

    def test_notify(self):
        self.kill_ten_times(self.notify)


if __name__ == "__main__":
    harness.main()

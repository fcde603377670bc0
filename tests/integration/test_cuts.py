"""The store's disk: it is cut off at each write, by a kill or a power cut; its flushes fail; it is
full. What was answered is there, once; what was not is whole or absent; nothing else is there.

IM2000_SEED=N takes other pages back than usual (disk.c)."""

# builds: plain asan
# time-limit: 600

import json
import os

import disk
import harness
import submissions
import wire
from submissions import archive, deliveries, envelope, message, submit, subject

SEED = int(os.environ.get("IM2000_SEED", "0"))
MOST = 300      # calls of one piece of work; far more than any makes


class Letter:
    """A submission: what it is, and what was promised."""

    def __init__(self, name, size, named, to=("bob@b.example",)):
        self.name = name
        self.octets = message(name, size)
        self.submission = os.urandom(16) if named else None
        self.to = to
        self.id = None          # the originator's, once answered


class Cuts(submissions.Msoap):
    settings = {}

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()
        self.two(**self.settings)
        self.disk = disk.Disk(self.site)
        self.store.restart(self.disk.environment())
        self.letters = {}
        self.stops = 0

    def start(self):
        self.store.start(self.disk.environment())

    def cuts(self, work, settle, step=1):
        """WORK(n) again and again: the store ends at the first call that changes its file, at
        the second, ... until WORK is through. After each end SETTLE(n). STEP 2: at every other."""
        step *= 1 if harness.sanitizer() == "plain" else 3
        for n in range(1 + SEED % step, MOST, step):
            self.disk.stop_at(n, SEED + n)
            try:
                work(n)
            except (OSError, wire.Closed):
                self.assertTrue(self.disk.stopped(), self.store.log()[-3000:])
            self.disk.well()
            if not self.disk.stopped():
                print(f"{self.id()}: seed {SEED}, through at call {n}", flush=True)
                self.assertGreater(n, 3)
                settle(n)
                return
            self.assertEqual(self.store.ended(), -9)
            self.disk["stopped"] = 0
            self.store.admin("check")
            self.start()
            settle(n)
        self.fail("it is never through")

    # ---- submissions

    def letter(self, *arguments):
        made = Letter(*arguments)
        self.letters[made.name] = made
        return made

    def say(self, letter, client):
        """Submits it, or what the store does not hold of it."""
        fields = {"submissionId": letter.submission} if letter.submission else {}
        envelope(client, *letter.to, size=len(letter.octets), **fields)
        done = client.recv().expect("ok").data
        if not done["complete"]:
            at = done["received"]
            client.call("submitChunk", isLast=True, offset=at,
                        data=letter.octets[at:]).expect("ok")
        # What was answered once has that id for ever.
        self.assertIn(letter.id, (None, done["id"]))
        letter.id = done["id"]
        return done

    def say_all(self, *letters):
        with self.store.originator("alice") as client:
            for letter in letters:
                self.say(letter, client)

    def resume(self):
        """Whoever named his submission says it again: it is there once, whatever became of it."""
        with self.store.originator("alice") as client:
            for letter in self.letters.values():
                if letter.submission and letter.id is None:
                    self.say(letter, client)
                    self.assertTrue(self.say(letter, client)["complete"])

    def kept(self):
        """{name: ArchivedMessage}; each is there once and was submitted."""
        with self.store.originator("alice") as client:
            found = archive(client)
        names = [subject(m["header"]) for m in found]
        self.assertEqual(len(names), len(set(names)), names)
        return dict(zip(names, found))

    def promises(self):
        """After the restarts: what the store must have and nothing else, octet for octet."""
        kept = self.kept()
        for name, letter in self.letters.items():
            if letter.id is not None:
                self.assertIn(name, kept)
                self.assertEqual(kept[name]["id"], letter.id)
        for name, found in kept.items():
            self.assertIn(name, self.letters)
            self.assertEqual(self.octets(found["id"]), self.letters[name].octets)
        return kept

    def told_once(self, kept):
        """Bob is told once of each that is kept, and of nothing else."""
        told = [subject(n["header"]) for n in self.wait_listed(len(kept))]
        self.assertEqual(sorted(told), sorted(kept))

    def stats(self):
        return json.loads(self.store.admin("stats", "--json").stdout)


class Submission(Cuts):
    def letters_of(self, kind, size):
        def work(n):
            self.say_all(self.letter(f"{kind}-{n}-unnamed", size, False),
                         self.letter(f"{kind}-{n}-named", size, True))

        self.cuts(work, lambda n: self.resume())
        self.assertGreater(self.store_again(), 0)

    def store_again(self):
        kept = self.promises()
        self.told_once(kept)
        # What nobody goes on with is swept away.
        self.clock.move(2 * 86400)
        self.store.restart()
        harness.wait_for("nothing else is left",
                         lambda: self.stats()["messages"] == len(kept))
        self.assertEqual(self.promises().keys(), kept.keys())
        return len(kept)

    def test_small(self):
        self.letters_of("small", 200)

    def test_blocks(self):
        """Octets that come to the disk while they come in."""
        self.letters_of("blocks", 7 * 65536 + 1000)


class Round(Cuts):
    """What comes of notifying is kept, and nobody is told twice or forgotten."""

    TO = {"bob@b.example": "notifying", "eve@b.example": "notifying", "no@b.example": "noUser",
          "none@b.example": "noUser", "r@down.example": "noServer"}

    def two(self, **settings):
        super().two(**settings)
        self.agent.mailbox("eve")
        self.store.set(route=self.site.routes()
                       + [f"down.example rnasp 127.0.0.1:{harness.free_port()}"])

    def release(self, letter):
        """Has it notified, and waits for what comes of that."""
        with self.store.originator("alice") as client:
            client.call("release", id=letter.id).expect("ok")
            harness.wait_for("all were tried",
                             lambda: submissions.statuses(client, letter.id) == self.TO)

    def test_round(self):
        with self.store.originator("alice") as client:
            drafts = []
            for n in range(60):
                draft = self.letter(f"draft-{n}", 300, False, tuple(self.TO))
                draft.id = submit(client, draft.octets, *draft.to, hold=True)["id"]
                drafts.append(draft)
        released = {}

        def work(n):
            released[drafts[n].name] = drafts[n]
            self.release(drafts[n])

        self.cuts(work, lambda n: self.release(drafts[n]))
        self.promises()
        for name in "bob", "eve":
            told = [subject(x["header"]) for x in self.wait_listed(len(released), name)]
            self.assertEqual(sorted(told), sorted(released))
        with self.store.originator("alice") as client:
            for draft in drafts:
                if draft.name not in released:
                    self.assertEqual(set(submissions.statuses(client, draft.id).values()),
                                     {"held"})

    def test_cancel(self):
        """In several transactions: all of it, once it has begun."""
        names = [f"r{i}@b.example" for i in range(1500)]
        sent = []

        def submit_one(client):
            letter = self.letter(f"to-many-{len(sent)}", 300, False, tuple(names))
            letter.id = submit(client, letter.octets, *names, hold=True)["id"]
            sent.append(letter)

        def work(n):
            with self.store.originator("alice") as client:
                client.call("cancel", id=sent[-1].id).expect("ok")

        def settle(n):
            with self.store.originator("alice") as client:
                found = set(submissions.statuses(client, sent[-1].id).values())
                self.assertLessEqual(found, {"held", "withdrawn"})
                if "withdrawn" in found:
                    self.clock.move(61)     # the sweep carries it through
                    self.wait_withdrawn(client, sent[-1])
                else:
                    client.call("cancel", id=sent[-1].id).expect("ok")
                    self.wait_withdrawn(client, sent[-1])
                submit_one(client)

        with self.store.originator("alice") as client:
            submit_one(client)
        self.cuts(work, settle)

    def wait_withdrawn(self, client, letter):
        harness.wait_for("all of it is withdrawn", lambda: set(
            submissions.statuses(client, letter.id).values()) == {"withdrawn"})


class Sweep(Cuts):
    settings = {"keep_status": "60s"}

    def test_sweep(self):
        """Octets, then the record: all goes, whatever it is cut off at, and is accounted for."""
        def fill(n):
            with self.store.originator("alice") as client:
                letter = self.letter(f"short-{n}", 3 * 65536, False)
                submit(client, letter.octets, *letter.to, lifetime=60)
                harness.wait_for("bob is told", lambda: letter.name in [
                    subject(x["header"]) for x in self.listed()])

        def work(_n):
            self.clock.move(61)
            self.wait_gone("blocks")
            self.clock.move(61)
            self.wait_gone("messages")

        fill(0)
        # What is left of a sweep that was cut off is the next one's, too.
        self.cuts(work, lambda n: fill(n + 1), step=2)
        work(0)
        accounts = self.store.admin("account", "list", "--json").stdout
        self.assertEqual(json.loads(accounts)["used"], 0)
        self.assertEqual([self.stats()[what] for what in ("blobs", "deliveries", "jobs")], [0] * 3)

    def wait_gone(self, what):
        def look():
            if self.disk.stopped():
                raise wire.Closed("it was ended")
            return self.stats()[what] == 0
        harness.wait_for(f"no {what} are left", look)


class Start(Cuts):
    def test_start(self):
        """The writes of a start are cut off too, after a crash in the middle of a submission."""
        def work(n):
            letter = self.letter(f"before-{n}", 5 * 65536, True)
            with self.store.originator("alice") as client:
                envelope(client, *letter.to, size=len(letter.octets),
                         submissionId=letter.submission)
                client.recv().expect("ok")
                client.send_raw(wire.chunk_head(0, True, len(letter.octets))
                                + letter.octets[:4 * 65536])
                harness.wait_for("some of it is written",
                                 lambda: self.stats()["blocks"] > self.blocks)
            self.store.kill()
            self.disk.stop_at(n, SEED + n)
            self.start()
            # What it does by itself comes soon after the start, or not at all.
            self.store.stop()

        self.blocks = 0
        for n in range(1, 30):
            try:
                work(n)
            except harness.Failed:
                self.assertTrue(self.disk.stopped(), self.store.log()[-3000:])
            through = not self.disk.stopped()
            self.disk.well()
            if self.store.process is not None:
                self.store.kill()
            self.store.admin("check")
            self.start()
            self.resume()
            self.blocks = self.stats()["blocks"]
            if through:
                break
        print(f"{self.id()}: seed {SEED}, through at call {n}", flush=True)
        self.assertTrue(through)
        self.told_once(self.promises())


if __name__ == "__main__":
    harness.main()

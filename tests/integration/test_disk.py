"""Disks that fail and disks that are full: what the daemons answer, what they do next, and what is
there afterwards."""

# builds: plain asan tsan
# time-limit: 600

import json
import os

import disk
import harness
import submissions
import wire
from submissions import archive, envelope, message, submit, subject


class Store(submissions.Msoap):
    def setUp(self):
        super().setUp()
        self.two()
        self.disk = disk.Disk(self.site)
        self.store.restart(self.disk.environment())

    def try_submit(self, octets, submission):
        """The last status that came, or None when the connection ended."""
        try:
            with self.store.client("msoap") as client:
                done = client.call("authenticate", account="alice", password="secret")
                if done.status == "ok":
                    envelope(client, "bob@b.example", submissionId=submission, size=len(octets))
                    done = client.recv()
                if done.status == "ok":
                    done = client.call("submitChunk", isLast=True, offset=done.data["received"],
                                       data=octets[done.data["received"]:])
                return done.status
        except (OSError, wire.Closed):
            return None

    def say(self, octets, submission):
        with self.store.originator("alice") as client:
            envelope(client, "bob@b.example", submissionId=submission, size=len(octets))
            done = client.recv().expect("ok").data
            if not done["complete"]:
                at = done["received"]
                client.call("submitChunk", isLast=True, offset=at, data=octets[at:]).expect("ok")
            return done["id"]

    def kept(self):
        with self.store.originator("alice") as client:
            return [subject(m["header"]) for m in archive(client)]

    def failing(self, size, flushes):
        """One flush fails, the first that there is, the second, ...: the store does not say that
        what is not there is, ends by itself, and comes back with what is there."""
        sent = []
        for n in range(1, flushes + 1):
            name = f"{size}-{n}"
            octets, submission = message(name, size), os.urandom(16)
            self.disk.fail_flush(n)
            status = self.try_submit(octets, submission)
            sent.append(name)
            if n <= 2:
                self.assertIn(status, ("internalProblem", "serviceShutdown", None))
            # Later ones may be those of what comes of notifying, or of further submissions.
            while self.disk["fail_flush"] != 0:
                more = message(f"{name}-{len(sent)}", 200), os.urandom(16)
                if self.try_submit(*more) == "ok":
                    sent.append(subject(more[0]))
            self.assertEqual(self.store.ended(), 1)
            self.assertIn("the disk failed: what was answered is there", self.store.log())
            self.disk.well()
            self.store.admin("check")
            self.store.start(self.disk.environment())
            kept = self.kept()
            self.assertEqual(len(kept), len(set(kept)))
            self.assertLessEqual({s for s in sent if status == "ok" or s != name}, set(kept))
            message_id = self.say(octets, submission)
            self.assertEqual(self.octets(message_id), octets)
        sent = self.kept()
        listed = [subject(x["header"]) for x in self.wait_listed(len(sent))]
        self.assertEqual(sorted(listed), sorted(sent))

    def test_flush_fails(self):
        self.failing(300, 4)

    def test_flush_of_blocks_fails(self):
        self.failing(8 * 65536, 8)

    def test_write_fails(self):
        self.disk["fail_write"] = 1
        octets, submission = message("unwritten", 300), os.urandom(16)
        self.assertIn(self.try_submit(octets, submission), ("internalProblem", None))
        self.assertEqual(self.store.ended(), 1)
        self.disk.well()
        self.store.admin("check")
        self.store.start(self.disk.environment())
        self.assertEqual(self.kept(), [])
        self.say(octets, submission)
        self.wait_listed(1)

    def test_stays_bad(self):
        """Started on a disk that is no better, it says so and ends."""
        self.disk["fail_flush"] = 1 << 40
        self.assertNotEqual(self.try_submit(message("lost", 300), os.urandom(16)), "ok")
        self.assertEqual(self.store.ended(), 1)
        with self.assertRaisesRegex(harness.Failed, "Input/output error|read or write failed"):
            self.store.start(self.disk.environment())
        self.disk.well()
        self.store.start(self.disk.environment())
        self.assertEqual(self.kept(), [])

    def file_size(self):
        return os.path.getsize(os.path.join(self.store.data, "store.mdb"))

    def test_full(self):
        """What does not fit is refused, all else goes on; what goes makes room on the same disk."""
        self.store.account("carol")
        with self.store.originator("alice") as client, self.store.originator("carol") as other:
            self.disk["room"] = self.file_size() + 200000
            sent, size = [], 100000
            for n in range(30):
                octets = message(f"fill-{n}", size)
                envelope(client, "bob@b.example", size=size)
                done = client.recv()
                if done.status == "ok":
                    done = client.call("submitChunk", isLast=True, offset=0, data=octets)
                if done.status != "ok":
                    break
                sent.append((f"fill-{n}", archive(client)[-1]["id"]))
            done.expect("notEnoughRoom", abort=True)
            self.assertGreater(len(sent), 3)
            # Small ones take what is left, until nothing is.
            status, small = "ok", 0
            while status == "ok":
                envelope(other, "bob@b.example", size=300)
                status = other.recv().status
                if status == "ok":
                    status = other.call("submitChunk", isLast=True, offset=0,
                                        data=message(f"small-{small}", 300)).status
                    small += status == "ok"
            self.assertEqual(status, "notEnoughRoom")
            for name, message_id in sent:
                self.assertEqual(self.octets(message_id), message(name, size))
            self.assertEqual(len(archive(client)), len(sent))
            for _, message_id in sent[:3]:
                client.call("cancel", id=message_id).expect("ok")
            harness.wait_for("its octets are gone", lambda: json.loads(
                self.store.admin("stats", "--json").stdout)["stored-octets"]
                < (len(sent) - 2) * size)
            submit(client, message("fits", size), "bob@b.example")
            submit(other, message("fits, too", 300), "bob@b.example")
        self.disk.well()
        self.wait_listed(len(sent) - 3 + small + 2)


class Notify(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.agent = self.site.notify("b.example", origin_notifications=100000)
        self.agent.mailbox("bob")
        self.disk = disk.Disk(self.site)
        self.start(restart=True)
        self.cert = self.site.authority.issue("a.example", usage="serverAuth")

    def start(self, restart=False):
        if restart:
            self.agent.stop()
        self.agent.start(self.disk.environment())

    def store(self):
        return self.agent.client("rnasp", cert=self.cert[0], key=self.cert[1])

    def notify(self, client, *identities, size=300):
        return client.call("notify", notifications=[
            wire.notification("a.example", "bob@b.example", i, "alice@a.example",
                              header=bytes(size)) for i in identities])

    def listed(self):
        found, after = {}, 0
        with self.agent.reader("bob") as reader:
            while True:
                done = reader.call("retrieve", after=after, limit=1000).expect("ok").data
                if not done["notifications"]:
                    return found
                found.update({x["notification"]["id"]: x["cursor"] for x in done["notifications"]})
                after = done["next"]

    def ends(self, act):
        """ACT(client) is answered internalProblem, if at all, and the agent ends by itself."""
        with self.store() as client:
            try:
                act(client).expect("internalProblem", abort=True)
            except wire.Closed:
                pass
        self.assertEqual(self.agent.ended(), 1)
        self.disk.well()
        self.agent.admin("check")
        self.start()

    def test_flush_fails(self):
        there = []
        for n in 1, 2:
            lost, kept = os.urandom(16), os.urandom(16)
            self.disk.fail_flush(n)
            self.ends(lambda client: self.notify(client, lost))
            self.assertLessEqual(set(self.listed()), {*there, lost})
            with self.store() as client:
                self.notify(client, lost, kept).expect("ok")
            there += [lost, kept]
            self.assertEqual(sorted(self.listed()), sorted(there))

    def test_acknowledge_fails(self):
        """What was not answered may be listed again."""
        with self.store() as client:
            self.notify(client, *(bytes([i]) * 16 for i in range(10))).expect("ok")
        for n in 1, 2:
            before = self.listed()
            self.disk.fail_flush(n)
            with self.agent.reader("bob") as reader:
                try:
                    reader.call("acknowledge", cursors=list(before.values())[:3]).expect(
                        "internalProblem")
                except wire.Closed:
                    pass
            self.assertEqual(self.agent.ended(), 1)
            self.disk.well()
            self.agent.admin("check")
            self.start()
            self.assertIn(len(self.listed()), (len(before), len(before) - 3))

    def test_full(self):
        """Refused with notEnoughRoom; what is acknowledged makes room on the same disk."""
        path = os.path.join(self.agent.data, "notify.mdb")
        self.disk["room"] = os.path.getsize(path) + 400000
        told = []
        with self.store() as client, self.agent.reader("bob") as reader:
            for size, count in (1200, 20), (1200, 1), (10, 1):
                done = None
                while done is None or done.status == "ok":
                    batch = [os.urandom(16) for _ in range(count)]
                    done = self.notify(client, *batch, size=size)
                    told += batch if done.status == "ok" else []
                    self.assertLess(len(told), 8000)
                done.expect("notEnoughRoom", abort=True)
                self.assertGreater(done.retry_after, 0)
                client.close()
                client.__init__("rnasp", self.agent.address["rnasp"], "b.example",
                                self.site.authority.ca, *self.cert)
            found = self.listed()
            self.assertEqual(sorted(found), sorted(told))
            gone = sorted(found, key=found.get)[:100]
            reader.call("acknowledge", cursors=[found[i] for i in gone]).expect("ok")
            more = [os.urandom(16) for _ in range(20)]
            self.notify(client, *more, size=1200).expect("ok")
        self.disk.well()
        self.assertEqual(sorted(self.listed()), sorted(set(told) - set(gone) | set(more)))
        self.start(restart=True)
        self.assertEqual(sorted(self.listed()), sorted(set(told) - set(gone) | set(more)))


if __name__ == "__main__":
    harness.main()

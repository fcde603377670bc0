"""MSOAP on the real store: what an originator does with messages that are stored, and learns of
them."""

# builds: plain asan
# time-limit: 600

import contextlib
import hashlib
import json
import time

import harness
import wire
from submissions import Msoap, archive, deliveries, mailboxes, message, statuses, subject, submit


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


class Lifetime(Msoap):
    """extend and forget."""

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()

    def stats(self):
        return json.loads(self.store.admin("stats", "--json").stdout)

    def test_extend(self):
        """A message lives on, its recipient can still read it, and a retry goes on."""
        self.two()
        self.store.account("carol")
        with self.store.originator("alice") as client:
            done = submit(client, message("one"), "bob@b.example", lifetime=3600)
            seen, = self.wait_listed(1)
            self.agent.stop()
            late = submit(client, message("late"), "bob@b.example", lifetime=3600)["id"]
            self.wait_status(client, late, "noServer")
            client.call("extend", id=done["id"], lifetime=59).expect("lifetimeTooShort")
            client.call("extend", id=bytes(16), lifetime=0).expect("noSuchMessage")
            with self.store.originator("carol") as other:
                other.call("extend", id=done["id"], lifetime=0).expect("noSuchMessage")
            longer = client.call("extend", id=done["id"], lifetime=86400).expect("ok").data
            self.assertGreater(longer["expires"], done["expires"])
            again = client.call("extend", id=done["id"], lifetime=60).expect("ok").data
            self.assertEqual(again, longer)
            client.call("extend", id=late, lifetime=86400).expect("ok")
            self.clock.move(2 * 3600)
            self.store.restart()        # which looks at once for what is over
        with self.store.originator("alice") as client:
            self.assertEqual(statuses(client, done["id"]), {"bob@b.example": "notifying"})
            self.assertEqual(self.octets(seen["id"]), message("one"))
            self.agent.start()
            self.clock.move(5 * 3600)   # over the longest wait before a retry
            self.wait_status(client, late, "notifying")
            self.clock.move(86400)
            self.wait_status(client, done["id"], "expired")
            client.call("extend", id=done["id"], lifetime=0).expect("withdrawn")

    def test_extend_tells_again(self):
        """An agent that has dropped the notification at the old end gets it with the new one."""
        self.two()
        with self.store.originator("alice") as client:
            done = submit(client, message("one"), "bob@b.example", lifetime=3600)
            self.wait_listed(1)
            client.call("extend", id=done["id"], lifetime=30 * 86400).expect("ok")
            self.clock.move(3700)
            self.agent.restart()        # which drops at once what is over
            harness.wait_for("the agent has dropped it", lambda: json.loads(
                self.agent.admin("stats", "--json").stdout)["notifications"] == 0)
            self.clock.move(3700)
            again, = self.wait_listed(1)
            self.assertGreater(again["expires"], done["expires"])
            self.assertEqual(self.octets(again["id"]), message("one"))

    def test_forget(self):
        """The originator's copy goes at once, the octets with the last recipient who pins them."""
        self.two()
        self.agent.mailbox("anna")
        octets = message("one", 300000)
        with self.store.originator("alice") as client:
            sent = submit(client, octets, "bob@b.example", "anna@b.example")["id"]
            bob, = self.wait_listed(1)
            anna, = self.wait_listed(1, "anna")
            client.call("forget", id=sent).expect("ok")
            client.call("forget", id=sent).expect("ok")
            client.call("forget", id=bytes(16)).expect("noSuchMessage")
            self.assertEqual(archive(client), [])
            self.assertEqual(set(statuses(client, sent).values()), {"notifying"})
            with self.store.client("msrap") as recipient:
                fields = {"type": "all", "offset": 0, "length": 0}
                recipient.call("retrieve", fields, id=sent).expect("noSuchMessage")
                got = recipient.call("retrieve", fields, id=bob["id"]).expect("ok")
                self.assertEqual(got.data["data"], octets)
                recipient.call("unPin", id=bob["id"]).expect("ok")
                self.assertEqual(self.stats()["stored-octets"], len(octets))
                got = recipient.call("retrieve", fields, id=anna["id"]).expect("ok")
                self.assertEqual(got.data["data"], octets)
                recipient.call("unPin", id=anna["id"]).expect("ok")
            harness.wait_for("the octets are gone", lambda: self.stats()["blocks"] == 0)
            self.assertEqual(self.stats()["stored-octets"], 0)
            self.assertEqual(set(statuses(client, sent).values()), {"silenced"})

    def test_forget_what_nobody_gets(self):
        """A recipient whom no agent knows pins nothing once that is final."""
        self.two()
        with self.store.originator("alice") as client:
            sent = submit(client, message("one"), "nobody@b.example")["id"]
            self.wait_status(client, sent, "noUser", "nobody@b.example")
            client.call("forget", id=sent).expect("ok")
            self.assertGreater(self.stats()["blocks"], 0)
            for attempts in 2, 3:
                self.clock.move(86400 + 60)
                harness.wait_for("it is tried again", lambda: deliveries(client, sent)[
                    "nobody@b.example"]["attempts"] == attempts)
            harness.wait_for("the octets are gone", lambda: self.stats()["blocks"] == 0)
            found = deliveries(client, sent)["nobody@b.example"]
            self.assertEqual((found["notification"], found["pinned"]), ("noUser", False))

    def test_forget_draft(self):
        self.two()
        with self.store.originator("alice") as client:
            draft = submit(client, message("draft"), "bob@b.example", hold=True)["id"]
            client.call("forget", id=draft).expect("ok")
            self.assertEqual(archive(client), [])
            self.assertEqual(statuses(client, draft), {"bob@b.example": "withdrawn"})
            client.call("release", id=draft).expect("withdrawn")
            harness.wait_for("the octets are gone", lambda: self.stats()["blocks"] == 0)


class Readdress(Msoap):
    """More recipients for a stored message."""

    def readdress(self, client, message_id, *names):
        client.send("readdress", id=message_id, recipients=mailboxes(*names))
        return client.recv()

    def test_one_more(self):
        self.two()
        self.agent.mailbox("anna")
        octets = message("one", 200000)
        with self.store.originator("alice") as client:
            sent = submit(client, octets, "bob@b.example")
            self.wait_status(client, sent["id"], "notifying")
            for _ in range(2):
                done = self.readdress(client, sent["id"], "anna@b.example", "x@b..example",
                                      "bob@b.example").expect("ok", abort=False)
                self.assertEqual(done.data, {
                    "id": sent["id"], "recipients": ["acceptable", "badAddress", "acceptable"],
                    "lists": [], "received": len(octets), "expires": sent["expires"],
                    "complete": True})
            self.wait_status(client, sent["id"], "notifying", "anna@b.example")
            self.assertEqual(set(statuses(client, sent["id"])),
                             {"bob@b.example", "anna@b.example"})
            self.readdress(client, bytes(16), "bob@b.example").expect("noSuchMessage")
            self.readdress(client, sent["id"]).expect("notPermitted", abort=False)
            self.readdress(client, sent["id"], "x@b..example").expect("notPermitted")
            self.store.account("carol")
            with self.store.originator("carol") as other:
                self.readdress(other, sent["id"], "bob@b.example").expect("noSuchMessage")
        bob, = self.wait_listed(1)
        anna, = self.wait_listed(1, "anna")
        self.assertNotEqual(bob["id"], anna["id"])
        self.assertEqual(bob["digest"], anna["digest"])
        self.assertEqual(self.octets(anna["id"]), octets)

    def test_draft(self):
        """A draft gets its recipients one by one, and goes to all of them at once."""
        self.two()
        self.agent.mailbox("anna")
        with self.store.originator("alice") as client:
            draft = submit(client, message("draft"), hold=True)["id"]
            for name in "bob@b.example", "anna@b.example":
                self.readdress(client, draft, name).expect("ok")
            self.assertEqual(set(statuses(client, draft).values()), {"held"})
            client.call("release", id=draft).expect("ok")
            self.wait_listed(1)
            self.wait_listed(1, "anna")

    def test_after_cancel(self):
        """Who was cancelled and is named again gets a new notification, which can be read."""
        self.two()
        with self.store.originator("alice") as client:
            sent = submit(client, message("one"), "bob@b.example", "x@b.example")["id"]
            first, = self.wait_listed(1)
            client.call("cancel", id=sent, recipients=mailboxes("bob@b.example")).expect("ok")
            self.readdress(client, sent, "bob@b.example").expect("ok")
            second = [n for n in self.wait_listed(2) if n["id"] != first["id"]][0]
            self.assertEqual(self.octets(second["id"]), message("one"))
            client.call("cancel", id=sent).expect("ok")
            self.readdress(client, sent, "anna@b.example").expect("withdrawn")

    def test_series_with_kills(self):
        """Thousands of recipients in several commands, of which a crash cuts some off."""
        self.two()
        self.agent.stop()
        self.agent.set(**{"unknown-rate": 0})
        self.agent.start()
        names = [f"r{i}@b.example" for i in range(6000)]
        with self.store.originator("alice") as client:
            sent = submit(client, message("many"), "bob@b.example")["id"]
        for first in range(0, 6000, 1500):
            part = names[first:first + 1500]
            with self.store.originator("alice") as client:
                client.send("readdress", id=sent, recipients=mailboxes(*part))
                time.sleep(first * 0.00001)
                self.store.kill()
            self.store.start()
            with self.store.originator("alice") as client:
                done = self.readdress(client, sent, *part).expect("ok")
                self.assertEqual(set(done.data["recipients"]), {"acceptable"})
        with self.store.originator("alice") as client:
            found = []
            fields = {"id": sent}
            while "after" not in fields or fields["after"] is not None:
                done = client.call("track", fields).expect("ok").data
                found += [wire.mailbox_text(d["recipient"]) for d in done["deliveries"]]
                fields["after"] = done.get("next")
            self.assertEqual(sorted(found), sorted(names + ["bob@b.example"]))
            harness.wait_for("each was tried", lambda: set(
                statuses(client, sent).values()) == {"noUser", "notifying"})
            self.assertEqual(statuses(client, sent)["bob@b.example"], "notifying")


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

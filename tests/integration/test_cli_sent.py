"""What a sender does with a message that was sent: release, readdress, extend, forget, archive,
and watching what becomes of it. On the real store."""
# builds: plain asan

import json
import queue
import threading

import harness
import submissions
from people import Case, capability


class Lines:
    """The lines that a process prints, as they come."""

    def __init__(self, process):
        self.stream = process.stdout
        self.lines = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with self.stream:
            for line in self.stream:
                self.lines.put(line)

    def until(self, wanted):
        """The records up to the first that WANTED(record) holds of."""
        seen = []
        while not seen or not wanted(seen[-1]):
            seen.append(json.loads(self.lines.get(timeout=harness.PATIENCE)))
        return seen


class Sent(Case):
    def setUp(self):
        super().setUp()
        self.two()
        self.c = self.site.notify("c.example")
        self.c.mailbox("carol")
        self.carol = self.site.person("carol", notify=self.c)
        self.a.set(route=self.site.routes())
        self.a.restart()

    def sent(self, number=1):
        return self.alice.json("status")[number - 1]

    def test_release(self):
        url = self.send("draft", "--draft")
        self.assertEqual(self.alice.json("archive")[0]["draft"], True)
        self.assertEqual(self.alice.run("release", url).stdout, "")
        self.settled(url)
        self.assertEqual(len(self.bob.json("list")), 1)
        self.assertIs(self.sent()["draft"], False)
        self.alice.run("release", "1")
        other = self.send("another", "--draft")
        self.alice.run("cancel", other)
        self.only(self.alice.run("release", other, status=1), "withdrawn")
        self.only(self.alice.run("release", "9", status=1), "no message 9 was sent")
        self.assertEqual(len(self.bob.json("list")), 1)

    def test_draft_without_recipients(self):
        sent = self.alice.json("send", "--draft", stdin="From: alice@a.example\r\n\r\nTo whom?\r\n")
        url = sent[0]["url"]
        self.only(self.alice.run("release", url, status=1), "release the message at a.example")
        self.assertEqual(self.alice.json("readdress", url, "--to", "bob@b.example"),
                         [{"recipient": "bob@b.example", "status": "acceptable"}])
        self.assertEqual(self.sent()["recipients"], ["bob@b.example"])
        self.alice.run("release", url)
        self.settled(url)
        self.assertEqual(len(self.bob.json("list")), 1)

    def test_readdress(self):
        url = self.arrived()
        done = self.alice.run("readdress", "1", "--to", "carol@c.example", "--to",
                              "bob@b.example")
        self.assertEqual(done.stdout, "carol@c.example: accepted\nbob@b.example: accepted\n")
        self.settled(url)
        self.assertEqual(self.carol.json("list")[0]["subject"], "Hello")
        self.assertEqual(len(self.bob.json("list")), 1)
        self.assertEqual(self.sent()["recipients"], ["bob@b.example", "carol@c.example"])
        self.assertEqual([d["recipient"] for d in self.alice.json("status", url)],
                         ["bob@b.example", "carol@c.example"])
        self.alice.run("cancel", url)
        self.only(self.alice.run("readdress", url, "--to", "carol@c.example", status=1),
                  "withdrawn")

    def test_extend(self):
        url = self.send("Hello", "--lifetime", "1d")
        before = self.sent()["expires"]
        self.assertRegex(self.alice.run("extend", url, "--lifetime", "30d").stdout,
                         r"^kept until \d{4}-\d\d-\d\d \d\d:\d\d\n$")
        after = self.sent()["expires"]
        self.assertGreater(after, before)
        self.assertEqual(self.alice.json("extend", "1", "--lifetime", "1h"), [{"expires": after}])
        self.assertEqual(self.alice.json("archive")[0]["expires"], after)
        self.alice.run("cancel", url)
        self.only(self.alice.run("extend", url, "--lifetime", "90d", status=1), "withdrawn")

    def test_forget(self):
        url = self.arrived()
        self.alice.run("forget", url)
        self.assertEqual(self.alice.json("archive"), [])
        self.assertEqual(self.alice.json("status", url)[0]["notification"], "notifying")
        self.bob.json("list")
        self.assertIn("Hello Bob.", self.bob.run("read", "1").stdout)
        self.alice.run("forget", "1")
        self.only(self.alice.run("readdress", url, "--to", "carol@c.example", status=1),
                  "no such message")

    def test_archive(self):
        """All of it, over several answers; what was sent from elsewhere has no number."""
        self.send("from here", "--draft")
        with self.a.originator("alice") as client:
            for i in range(104):
                submissions.submit(client, f"From: alice@a.example\r\nTo: bob@b.example\r\n"
                                           f"Subject: {i}\r\n\r\nx".encode(), "bob@b.example")
        kept = self.alice.json("archive")
        self.assertEqual([m["subject"] for m in kept],
                         ["from here"] + [str(i) for i in range(104)])
        self.assertEqual(kept[0]["url"], self.sent()["url"])
        self.assertEqual((kept[0]["number"], kept[0]["draft"]), (1, True))
        self.assertNotIn("number", kept[1])
        self.assertEqual((kept[1]["draft"], kept[1]["to"]), (False, "bob@b.example"))
        lines = self.alice.run("archive").stdout.splitlines()
        self.assertEqual(len(lines), 2 * 105)
        self.assertRegex(lines[0], r"^   1  .* \(draft\)  from here$")
        self.assertEqual(lines[1].strip(), kept[0]["url"])
        self.assertRegex(lines[2], r"^   -  .*  bob@b.example  0$")
        self.assertEqual(self.alice.json("status", kept[9]["url"])[0]["recipient"],
                         "bob@b.example")

    def test_usage(self):
        for arguments, pattern in (
                (["release"], "one message"), (["release", "1", "2"], "one message"),
                (["release", "x"], "neither a number nor"), (["release", "--to", "a@b"], "option"),
                (["readdress", "1"], "wants --to"), (["readdress", "--to", "bob"], "no mailbox"),
                (["readdress", "--to", "bob@b.example"], "one message"),
                (["readdress", "1", "--to", "x", "--to", "y"], "no mailbox"),
                (["extend", "1"], "wants --lifetime"), (["extend", "1", "--lifetime", "0"],
                                                        "no lifetime"),
                (["extend", "1", "--lifetime"], "wants a value"), (["forget"], "one message"),
                (["archive", "1"], "takes no"), (["status", "--watch", "1", "2"], "one number"),
                (["status", "--watch", "x"], "neither a number nor")):
            with self.subTest(arguments):
                self.only(self.alice.run(*arguments, status=2), pattern)
        for command in ("archive", "status"):
            arguments = [command, "--watch"] if command == "status" else [command]
            self.only(self.bob.run(*arguments, status=1), "names a store-password")

    def test_store_is_away(self):
        url = self.send("draft", "--draft")
        self.a.stop()
        for arguments in (["release", url], ["extend", url, "--lifetime", "1d"], ["forget", url],
                          ["readdress", url, "--to", "bob@b.example"], ["archive"]):
            self.only(self.alice.run(*arguments, status=75), "a.example")
        self.a.start()
        self.assertEqual(self.alice.json("status", url)[0]["notification"], "held")
        self.assertIs(self.sent()["draft"], True)


class Watched(Case):
    def watch(self, *arguments):
        process = self.site.start("im2000", "-c", self.alice.conf, "status", "--watch", "--json",
                                  *arguments)
        lines = Lines(process)
        self.addCleanup(self.end, process)
        return process, lines

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait(harness.PATIENCE)

    def test_all(self):
        """What changes is told as it does, over a restart of the store; a second watch begins
        where the first ended."""
        self.two()
        self.arrived("before the first watch")
        first, lines = self.watch()
        # What comes before it has caught up is passed over.
        harness.wait_for("it tells something", lambda: self.arrived("early") and
                         not lines.lines.empty())
        url = self.send("seen")
        seen = lines.until(lambda r: r["notification"] == "notifying" and r["url"] == url)
        sent = self.alice.json("status")
        self.assertEqual((seen[-1]["number"], seen[-1]["recipient"]), (len(sent), "bob@b.example"))
        self.assertNotIn(sent[0]["url"], [r["url"] for r in seen])
        self.a.restart()
        item, = (i for i in self.bob.json("list") if i["subject"] == "seen")
        self.bob.run("read", str(item["number"]))
        seen = lines.until(lambda r: r["url"] == url and r["read"] == "readHeaders" and
                           r["notification"] == "silenced")
        self.end(first)
        other = self.send("while nobody watched")
        self.settled(other)
        second, lines = self.watch()
        seen = lines.until(lambda r: r["url"] == other)
        self.assertEqual(seen[-1]["notification"], "notifying")
        self.assertEqual({r["url"] for r in seen} - {url}, {other}, "not all from the beginning")
        self.end(second)

    def test_one(self):
        """How it stands, then what changes of it, and of no other."""
        self.two()
        url, other = self.arrived("one"), self.arrived("other")
        process, lines = self.watch(url)
        self.assertEqual(lines.until(lambda r: True)[0]["notification"], "notifying")
        for item in self.bob.json("list"):
            self.bob.run("refuse", str(item["number"]), "--reason", item["subject"])
        self.settled(other)
        seen = lines.until(lambda r: r["notification"] == "refused")
        self.assertEqual({(r["recipient"], r["notification"] == "refused", r["text"])
                          for r in seen[-1:]}, {("bob@b.example", True, "one")})
        self.assertNotIn("other", [r["text"] for r in seen])
        self.end(process)


if __name__ == "__main__":
    harness.main()

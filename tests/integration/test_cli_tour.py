"""im2000: the whole way of a message, and what happens while somebody cannot be reached."""

import json
import os
import signal

import harness
import wire
from people import MESSAGE, Case, established


class Tour(Case):
    def test_the_whole_way(self):
        self.two()
        sent = self.alice.json("send", stdin=MESSAGE.format("=?utf-8?q?Gr=C3=BC=C3=9Fe?="))
        url = sent[0]["url"]
        self.assertRegex(url, "^im2000://a[.]example/[0-9a-v]{26}$")
        self.assertEqual([(r["recipient"], r["status"]) for r in sent[1:]],
                         [("bob@b.example", "acceptable")])
        status, = self.settled(url)
        self.assertEqual((status["recipient"], status["notification"], status["read"],
                          status["pinned"], status["attempts"]),
                         ("bob@b.example", "notifying", "unread", True, 1))

        item, = self.bob.json("list")
        self.assertEqual((item["number"], item["sender"], item["verified"], item["subject"],
                          item["flags"], item["size"], item["account"]),
                         (1, "alice@a.example", True, "Grüße", "N", sent[0]["size"], "home"))
        self.assertEqual(self.settled(url)[0]["read"], "unread", "listing contacts no store")

        part, = self.bob.json("structure", "1")
        self.assertEqual((part["section"], part["type"], part["size"]),
                         ("1", "text/plain", len("Hello Bob.\r\n")))
        self.assertEqual(self.settled(url)[0]["read"], "unread",
                         "the structure stands in the notification")

        shown = self.bob.run("read", "1").stdout
        self.assertIn("From: Alice <alice@a.example>\nTo: bob@b.example\nSubject: Grüße\nDate: ",
                      shown)
        self.assertTrue(shown.endswith("\n\nHello Bob.\n"), shown)
        harness.wait_for("the reading shows", lambda: self.settled(url)[0]["read"] ==
                         "readHeaders")
        self.assertEqual(self.settled(url)[0]["notification"], "silenced")
        self.assertEqual(self.bob.json("list")[0]["flags"], "R")

        raw = self.bob.run("read", "1", "--raw", text=False).stdout
        self.assertEqual(len(raw), sent[0]["size"])
        self.assertTrue(raw.startswith(b"From: Alice <alice@a.example>\r\nTo: bob@b.example\r\n"))
        harness.wait_for("the reading shows", lambda: self.settled(url)[0]["read"] == "readAll")

        self.assertEqual(self.bob.run("drop", "1").stdout, "")
        self.assertEqual(self.bob.json("list"), [])
        harness.wait_for("the store knows", lambda: not self.settled(url)[0]["pinned"])
        with self.b.reader("bob") as agent:
            left = agent.call("retrieve", after=0).expect("ok").data["notifications"]
        self.assertEqual(left, [], "the agent was told")
        self.only(self.bob.run("read", "1", status=1), "no message 1")

        first, = self.alice.json("status")
        self.assertEqual((first["number"], first["url"], first["subject"], first["recipients"]),
                         (1, url, "Grüße", ["bob@b.example"]))
        self.assertEqual(self.alice.json("status", "1"), self.alice.json("status", url))

    def test_words_for_people(self):
        """The same without --json: what each line must hold."""
        self.two()
        done = self.alice.run("send", stdin=MESSAGE.format("Hello"))
        url, line = done.stdout.splitlines()
        self.assertEqual(line, "bob@b.example: accepted")
        self.settled(url)
        self.assertRegex(self.alice.run("status", url).stdout,
                         r"^bob@b\.example +notifying +unread +pinned +\d{4}-\d\d-\d\d \d\d:\d\d")
        self.assertRegex(self.alice.run("status").stdout, rf"^ +1  .*  Hello\n +{url}\n$")
        self.assertRegex(self.bob.run("list").stdout,
                         r"^ +1  \d{4}-\d\d-\d\d \d\d:\d\d  alice@a\.example +\d+  Hello  \[N\]\n$")
        self.assertRegex(self.bob.run("structure", "1").stdout, r"^1 +text/plain  12\n$")

    def test_several(self):
        """Numbers rise, stay, and are never given again."""
        self.two()
        for subject in ("one", "two", "three"):
            self.arrived(subject)
        self.assertEqual([(i["number"], i["subject"]) for i in self.bob.json("list")],
                         [(1, "one"), (2, "two"), (3, "three")])
        self.bob.run("drop", "1", "3")
        self.assertEqual([i["number"] for i in self.bob.json("list")], [2])
        self.arrived("four")
        self.assertEqual([(i["number"], i["subject"]) for i in self.bob.json("list")],
                         [(2, "two"), (4, "four")])
        done = self.bob.run("drop", "2", "9", status=1)
        self.only(done, "no message 9")
        self.assertEqual([i["number"] for i in self.bob.json("list")], [4])

    def test_two_mail_programs(self):
        """Each has a cursor of its own; what one drops is gone for who has not fetched it."""
        self.two()
        self.arrived("one")
        os.makedirs(os.path.join(self.site.folder, "phone"))
        self.assertEqual(len(self.bob.json("list")), 1)
        self.bob.set(data=os.path.join(self.site.folder, "phone"))
        self.assertEqual(len(self.bob.json("list")), 1)
        self.assertEqual(len(self.bob.json("list")), 1)

    def test_many(self):
        """More than a page of notifications."""
        self.two()
        self.b.set(origin_notifications="5000")
        self.b.restart()
        number = 620
        with self.a.originator("alice") as client:
            for i in range(number):
                client.send("submitEnvelope", recipients=[wire.mailbox("bob@b.example")],
                            lifetime=0)
                client.send("submitChunk", isLast=True, offset=0,
                            data=MESSAGE.format(i).encode())
            for i in range(2 * number):
                client.recv().expect("ok")
        with self.b.reader("bob") as agent:
            def all_there():
                found, after = 0, 0
                while True:
                    page = agent.call("retrieve", after=after, limit=500).expect("ok").data
                    found += len(page["notifications"])
                    after = page["next"]
                    if not page["notifications"]:
                        return found == number
            harness.wait_for("the agent has all", all_there)
        listed = self.bob.json("list")
        self.assertEqual([i["number"] for i in listed], list(range(1, number + 1)))
        self.assertEqual(len({i["subject"] for i in listed}), number)

    def test_withdrawn(self):
        self.two()
        url = self.arrived()
        self.assertEqual(self.bob.json("list")[0]["flags"], "N")
        self.assertEqual(self.alice.run("cancel", url).stdout, "")
        self.assertEqual(self.settled(url)[0]["notification"], "withdrawn")
        harness.wait_for("the agent knows", lambda: self.bob.json("list")[0]["flags"] == "NW")
        self.assertEqual([i["number"] for i in self.bob.json("list")], [1])
        self.only(self.bob.run("read", "1", status=1), "withdrawn")
        self.bob.run("drop", "1")
        self.assertEqual(self.bob.json("list"), [])

    def test_cancel_one(self):
        self.two()
        self.b.mailbox("carol")
        carol = self.site.person("carol", notify=self.b)
        url = self.send("Hello", "--to", "bob@b.example", "--to", "carol@b.example")
        self.settled(url)
        self.only(self.alice.run("cancel", url, "--to", "dave@b.example", status=1),
                  "no such mailbox")
        self.alice.run("cancel", "1", "--to", "carol@b.example")
        self.bob.json("list")
        carol.json("list")
        self.only(carol.run("read", "1", status=1), "withdrawn")
        self.assertIn("Hello Bob.", self.bob.run("read", "1").stdout)

    def test_refuse(self):
        self.two()
        url = self.arrived()
        self.bob.json("list")
        self.bob.run("refuse", "1", "--reason", "Nein, danke.")
        status, = self.settled(url)
        self.assertEqual((status["notification"], status["text"]), ("refused", "Nein, danke."))
        self.assertEqual(self.bob.json("list"), [])

    def test_expired(self):
        clock = self.site.fake_clock()
        self.two()
        self.arrived("Hello", "--lifetime", "2d")
        self.assertEqual(self.bob.json("list")[0]["flags"], "N")
        clock.move(3 * 86400)
        flags = [i["flags"] for i in self.bob.json("list")]
        self.assertIn(flags, ([], ["NE"]))
        self.assertEqual(self.bob.run("drop", "1").stdout, "")
        self.assertEqual(self.bob.json("list"), [])

    def test_refused_then_changed(self):
        """What the agent says while the store is not told yet does not lose the reason."""
        self.two()
        url = self.arrived()
        self.arrived("second")
        self.bob.json("list")
        with self.b.reader("bob") as agent:
            first = agent.call("retrieve", after=0).expect("ok").data["notifications"][0]
        self.a.stop()
        self.bob.run("refuse", "1", "--reason", "Nein, danke.", status=75)
        with self.b.client("rnasp", cert=self.a.settings["certificate"],
                           key=self.a.settings["key"]) as client:
            again = first["notification"]
            self.assertEqual(client.call("notify", notifications=[again]).expect("ok").data,
                             {"results": ["accepted"]})
            gone = {"recipient": again["recipient"], "id": again["id"]}
            client.call("withdraw", notifications=[gone]).expect("ok")
        self.assertEqual([i["number"] for i in self.bob.json("list")], [2])
        self.a.start()
        self.bob.run("drop", "2")
        status, = self.alice.json("status", url)
        self.assertEqual((status["notification"], status["text"]), ("refused", "Nein, danke."))
        self.assertEqual(self.bob.json("list"), [])

    def test_draft(self):
        self.two()
        url = self.send("draft", "--draft")
        self.assertEqual(self.alice.json("status", url)[0]["notification"], "held")
        self.assertIs(self.alice.json("status")[0]["draft"], True)
        self.assertEqual(self.bob.json("list"), [])
        done = self.alice.run("send", "--draft", stdin="From: alice@a.example\n\nto whom?\n")
        self.assertEqual(len(done.stdout.splitlines()), 1)

    def test_later(self):
        clock = self.site.fake_clock()
        self.two()
        url = self.send("later", "--at", "+2h")
        self.assertEqual(self.alice.json("status", url)[0]["notification"], "unprocessed")
        self.assertEqual(self.bob.json("list"), [])
        clock.move(2 * 3600 + 60)
        harness.wait_for("it comes", lambda: self.bob.json("list"))

    def test_unverified(self):
        """Kept by an agent that does so, and marked."""
        self.b = self.site.notify("b.example", unverified="keep")
        self.b.mailbox("bob")
        other = self.site.authority.issue("elsewhere.example", usage="serverAuth")
        self.a = self.site.store("a.example", cert=other)
        self.bob = self.site.person("bob", notify=self.b)
        with self.b.client("rnasp") as client:
            value = wire.notification("a.example", "bob@b.example", b"x" * 16,
                                      "alice@a.example", size=10, digest=b"y" * 32)
            client.call("notify", notifications=[value]).expect("ok")
        item, = self.bob.json("list")
        self.assertIs(item["verified"], False)
        self.assertIn("alice@a.example (unverified)", self.bob.run("list").stdout)

    def test_hostile_header(self):
        """What a stranger writes cannot move the cursor of a terminal."""
        self.two()
        self.arrived("\x1b[2J\u202eevil =?utf-8?q?=1B]0;x=07=0A?=")
        for shown in (self.bob.run("list").stdout, self.bob.run("read", "1").stdout):
            for character in "\x1b\x07\u202e":
                self.assertNotIn(character, shown)
        self.assertEqual(len(self.bob.run("list").stdout.splitlines()), 1)


class Unreachable(Case):
    def test_agent(self):
        """What is known is listed all the same; 75."""
        self.two()
        self.arrived()
        self.bob.json("list")
        self.b.stop()
        done = self.bob.run("list", "--json", status=75)
        self.assertEqual([json.loads(line)["number"] for line in done.stdout.splitlines()], [1])
        self.only(done, "b.example")
        self.assertIn("Hello Bob.", self.bob.run("read", "1").stdout)

    def test_store(self):
        self.two()
        url = self.arrived()
        self.bob.json("list")
        self.a.stop()
        self.only(self.bob.run("read", "1", status=75), "read message 1: .*a.example")
        self.only(self.alice.run("status", url, status=75), "a.example")
        self.only(self.alice.run("cancel", url, status=75), "a.example")
        self.only(self.alice.run("send", stdin=MESSAGE.format("x"), status=75), "a.example")
        self.assertEqual(len(self.alice.json("status")), 1, "what was sent is known here")

    def test_drop_is_told_later(self):
        self.two()
        url = self.arrived()
        self.arrived("second")
        self.bob.json("list")
        self.a.stop()
        self.only(self.bob.run("drop", "1", status=75), "message 1 is dropped here")
        self.assertEqual([i["number"] for i in self.bob.json("list")], [2])
        self.a.start()
        self.assertTrue(self.settled(url)[0]["pinned"])
        self.bob.run("drop", "2")
        self.assertFalse(self.settled(url)[0]["pinned"], "the first drop was told with the second")
        self.assertEqual(self.settled(url)[0]["notification"], "silenced")

    def test_drop_while_the_agent_is_down(self):
        """What was dropped and comes again stays dropped."""
        self.two()
        self.arrived()
        self.bob.json("list")
        self.b.stop()
        self.only(self.bob.run("drop", "1", status=75), "message 1 is dropped here")
        self.b.start()
        self.assertEqual(self.bob.json("list"), [])
        with self.b.reader("bob") as agent:
            left = agent.call("retrieve", after=0).expect("ok").data["notifications"]
        self.assertEqual(left, [])

    def test_agent_from_a_backup(self):
        """What comes to it then is above what was seen before."""
        self.two()
        backup = os.path.join(self.site.folder, "backup")
        self.b.admin("backup", backup)
        for i in range(3):
            self.arrived(str(i))
        self.assertEqual(len(self.bob.json("list")), 3)
        self.b.stop()
        self.b.set(data=backup)
        self.b.start()
        self.arrived("after all")
        self.assertEqual(self.bob.json("list")[-1]["subject"], "after all")

    def test_cached(self):
        """What was pulled whole needs no network."""
        self.two()
        self.arrived()
        self.bob.json("list")
        raw = self.bob.run("read", "1", "--raw").stdout
        self.a.stop()
        self.b.stop()
        self.assertEqual(self.bob.run("read", "1", "--raw").stdout, raw)
        self.assertIn("Hello Bob.", self.bob.run("read", "1").stdout)
        self.assertEqual(self.bob.json("structure", "1")[0]["type"], "text/plain")
        self.assertTrue(self.bob.run("read", "1", "--headers").stdout.startswith("From: Alice"))
        cache = os.path.join(self.bob.folder, "data", "cache")
        self.assertEqual(os.listdir(cache), ["1.eml"])
        self.bob.run("drop", "1", status=75)
        self.assertEqual(os.listdir(cache), [], "a drop empties the cache")


class Accounts(Case):
    """Bob has two mailboxes at two agents, and may send from two stores."""

    def setUp(self):
        super().setUp()
        self.two()
        self.c = self.site.notify("c.example")
        self.c.mailbox("robert")
        self.d = self.site.store("c.example")
        self.d.account("robert")
        self.a.set(route=self.site.routes())
        self.a.restart()
        self.bob.write_conf()
        with open(self.bob.conf, encoding="utf-8") as file:
            text = file.read()
        self.conf = os.path.join(self.bob.folder, "two.conf")
        harness.write(self.conf, text + "[account club]\nmailbox = robert@c.example\n"
                      "notify-password-file = password\nstore-password-file = password\n")

    def im2000(self, *arguments, **options):
        return self.site.run("im2000", "-c", self.conf, *arguments, **options)

    def both(self):
        url = self.send("Hello", "--to", "bob@b.example", "--to", "robert@c.example")
        self.settled(url)

    def listed(self, *arguments, **options):
        lines = self.im2000("list", "--json", *arguments, **options).stdout.splitlines()
        return {item["account"]: item["number"] for item in map(json.loads, lines)}

    def test_list(self):
        self.both()
        both = self.listed()
        self.assertEqual(sorted(both), ["club", "home"])
        self.assertEqual(sorted(both.values()), [1, 2])
        self.assertEqual(self.listed("--account", "club"), {"club": both["club"]})
        self.assertEqual(self.listed("--account", "bob@b.example"), {"home": both["home"]})
        for number in both.values():
            self.assertIn("Hello Bob.", self.im2000("read", str(number)).stdout)
        self.im2000("drop", "1", "2")
        self.assertEqual(self.listed(), {})
        for agent, name in ((self.b, "bob"), (self.c, "robert")):
            with agent.reader(name) as client:
                left = client.call("retrieve", after=0).expect("ok").data["notifications"]
            self.assertEqual(left, [])

    def test_one_is_down(self):
        self.both()
        self.b.stop()
        done = self.im2000("list", "--json", status=75)
        self.only(done, "b.example")
        self.assertEqual([json.loads(line)["account"] for line in done.stdout.splitlines()],
                         ["club"])

    def test_wait(self):
        process = self.site.start("im2000", "-c", self.conf, "wait", "--json")
        for agent in (self.b, self.c):
            port = agent.address["rnaqp"][1]
            harness.wait_for("im2000 has connected", lambda: established(port))
        self.send("Hello", "--to", "robert@c.example")
        out, _ = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual((process.returncode, json.loads(out)["account"]), (0, "club"))

    def test_send(self):
        """The account is the one in From."""
        done = self.im2000("send", stdin="From: robert@c.example\nTo: bob@b.example\n\nx\n")
        self.assertTrue(done.stdout.startswith("im2000://c.example/"))
        done = self.im2000("send", status=1,
                           stdin="From: bob@b.example\nTo: bob@b.example\n\nx\n")
        self.only(done, "account home: no password")
        done = self.im2000("--account", "club", "send", status=1,
                           stdin="From: bob@b.example\nTo: bob@b.example\n\nx\n")
        self.only(done, "may not send as")


class Wait(Case):
    def test_wait(self):
        self.two()
        self.bob.write_conf()
        told = os.path.join(self.site.folder, "told")
        command = f'printf "%s|%s|%s" "$IM2000_NUMBER" "$IM2000_SENDER" "$IM2000_SUBJECT" > {told}'
        process = self.site.start("im2000", "-c", self.bob.conf, "wait", "--exec", command,
                                  "--json")
        self.waiting()
        self.send("$(touch x); `id`")
        out, _ = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, 0, out)
        self.assertEqual(json.loads(out)["number"], 1)
        with open(told, encoding="utf-8") as file:
            self.assertEqual(file.read(), "1|alice@a.example|$(touch x); `id`")
        self.assertEqual(len(self.bob.json("list")), 1)

    def waiting(self):
        """Until the agent has a session."""
        port = self.b.address["rnaqp"][1]
        harness.wait_for("im2000 has connected", lambda: established(port))

    def test_what_came_before(self):
        self.two()
        self.arrived()
        self.assertEqual(self.bob.json("wait")[0]["number"], 1)

    def test_exec_that_fails(self):
        self.two()
        self.arrived()
        done = self.bob.run("wait", "--exec", "exit 4", status=1)
        self.only(done, "status 4")
        self.assertEqual(len(done.stdout.splitlines()), 1)

    def test_agent_that_goes_and_comes(self):
        self.two()
        self.bob.write_conf()
        process = self.site.start("im2000", "-c", self.bob.conf, "wait")
        self.waiting()
        self.b.stop()
        self.b.start()
        self.send("after all")
        out, _ = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, 0, out)
        self.assertIn("after all", out)

    def test_interrupted(self):
        self.two()
        self.bob.write_conf()
        process = self.site.start("im2000", "-c", self.bob.conf, "wait")
        self.waiting()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual(self.bob.json("list"), [])


if __name__ == "__main__":
    harness.main()

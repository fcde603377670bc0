"""Who is refused: the tables of a mailbox by im2000 and by RNAQP, the operator's over them, and
what senders see of it."""

import json

import harness
from people import Case

# builds: asan


class Policy(Case):
    def setUp(self):
        super().setUp()
        self.two()

    def tables(self):
        return [(r["table"], r["value"]) for r in self.bob.json("policy")]

    def outcome(self):
        """What becomes of one more message from Alice to Bob, as Alice sees it."""
        return self.settled(self.send())[0]["notification"]

    def stats(self):
        return json.loads(self.b.admin("stats", "--json").stdout)

    def test_block(self):
        self.assertEqual(self.tables(), [])
        self.assertEqual(self.outcome(), "notifying")
        for value in ("alice@A.Example", "@a.example", "@.a.example", "@.example"):
            with self.subTest(value):
                self.assertEqual(self.bob.run("block", value).stdout, "")
                self.assertEqual(self.outcome(), "refused")
                self.bob.run("unblock", value)
                self.assertEqual(self.outcome(), "notifying")
        self.assertEqual(len(self.bob.json("list")), 5)
        # The nearer word counts; what is allowed is blocked no more.
        self.bob.run("block", "@.example", "alice@a.example", "eve@c.example")
        self.bob.run("allow", "alice@a.example")
        self.assertEqual(self.tables(), [("blacklist", "@.example"),
                                         ("blacklist", "eve@c.example"),
                                         ("whitelist", "alice@a.example")])
        self.assertEqual(self.outcome(), "notifying")
        self.bob.run("block", "alice@a.example")
        self.assertEqual(self.tables()[1:], [("blacklist", "alice@a.example"),
                                             ("blacklist", "eve@c.example")])
        self.assertEqual(self.bob.run("policy", "blacklist").stdout.splitlines(),
                         ["home  blacklist  @.example", "home  blacklist  alice@a.example",
                          "home  blacklist  eve@c.example"])
        self.only(self.bob.run("unblock", "@nobody.example", status=1),
                  "@nobody.example is not in the blacklist")
        self.only(self.bob.run("policy", "greylist", status=1), "no such table")
        self.b.admin("check")

    def test_strangers(self):
        self.bob.run("policy", "add", "strangers", "refuse")
        self.assertEqual(self.outcome(), "refused")
        self.bob.run("allow", "@a.example")
        self.assertEqual(self.outcome(), "notifying")
        self.bob.run("policy", "remove", "whitelist", "@a.example")
        self.bob.run("policy", "remove", "strangers", "refuse")
        self.assertEqual(self.outcome(), "notifying")
        self.b.set(strangers="refuse")
        self.b.restart()
        self.assertEqual(self.outcome(), "refused")
        self.b.admin("policy", "add", "whitelist", "alice@a.example")
        self.assertEqual(self.outcome(), "notifying")

    def test_operator(self):
        """While the daemon runs; over what the mailbox says."""
        admin = self.b.admin
        self.bob.run("allow", "alice@a.example")
        admin("policy", "add", "blacklist", "@.A.Example")
        self.assertEqual(self.outcome(), "refused")
        self.assertEqual(self.bob.json("policy", "blacklist"), [], "it is nobody's else to see")
        admin("policy", "remove", "blacklist", "@.a.example")
        self.assertEqual(self.outcome(), "notifying")
        self.bob.run("block", "alice@a.example")
        self.assertEqual(self.outcome(), "refused")
        admin("policy", "add", "whitelist", "@a.example")
        self.assertEqual(self.outcome(), "notifying")
        # A mailbox's tables, in its owner's place.
        shown = admin("policy", "show", "--mailbox", "bob@b.example", "--json").stdout
        found, = [json.loads(line) for line in shown.splitlines()]
        self.assertEqual((found["table"], found["value"]), ("blacklist", "alice@a.example"))
        self.assertRegex(found["added"], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        admin("policy", "remove", "blacklist", "alice@a.example", "--mailbox", "bob@b.example")
        admin("policy", "add", "strangers", "refuse", "--mailbox", "bob@b.example")
        self.assertEqual(self.tables(), [("strangers", "refuse")])
        line, = admin("policy", "show", "whitelist").stdout.splitlines()
        self.assertEqual(line.split()[:2], ["whitelist", "@a.example"])
        self.b.stop()
        stats = self.stats()
        self.assertEqual((stats["answered-accepted"], stats["answered-refused"],
                          stats["policy-values"]), (2, 2, 2))

    def test_mistakes(self):
        for words, status, said in (
                (("policy",), 2, "policy wants show, add or remove"),
                (("policy", "add", "blacklist"), 2, "a table and a value"),
                (("policy", "show", "blacklist", "x"), 2, "one table at most"),
                (("policy", "add", "greylist", "@x.example"), 1, "no such table"),
                (("policy", "add", "blacklist", "x"), 1, "no value for blacklist"),
                (("policy", "add", "strangers", "accept"), 1, "no value for strangers"),
                (("policy", "remove", "blacklist", "@x.example"), 1, "is not in the blacklist"),
                (("policy", "show", "--mailbox", "x"), 2, "is no mailbox"),
                (("policy", "show", "--mailbox", "x@b.example"), 1, "there is no mailbox")):
            with self.subTest(words):
                done = self.b.admin(*words, status=status)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"\Aim2000-notify: [^\n]+\n\Z")
                self.assertIn(said, done.stderr)
        for words, said in ((("block",), "wants mailboxes"), (("allow", "x"), "is no mailbox"),
                            (("unblock", "@"), "is no mailbox"),
                            (("policy", "add"), "policy wants"),
                            (("policy", "add", "blacklist"), "policy wants")):
            with self.subTest(words):
                self.only(self.bob.run(*words, status=2), said)


if __name__ == "__main__":
    harness.main()

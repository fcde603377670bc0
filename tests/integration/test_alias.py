"""Addresses that stand for mailboxes: `im2000-notify alias`, tags, the catch-all; what the reader
sees of them, and what is said of mistakes."""

import json

import harness
import wire
from agents import Agent, fresh
from people import Case

# builds: asan


def addresses(found):
    return [wire.mailbox_text(n["notification"]["recipient"]) for n in found]


class Alias(Agent):
    def setUp(self):
        super().setUp()
        self.client = self.store("a.example")

    def alias(self, *words, **more):
        return self.agent.admin("alias", *words, **more)

    def aliases(self):
        listed = self.alias("list", "--json").stdout.splitlines()
        return {r["alias"]: r["mailboxes"] for r in map(json.loads, listed)}

    def outcome(self, recipient, identity=None):
        result, = self.notify(self.client, self.note(identity or fresh(), recipient))
        return result

    def test_several(self):
        """While the daemon runs. Each of them has it, as it was addressed; who waits is woken."""
        self.assertEqual(self.outcome("info@b.example"), "noUser")
        self.alias("add", "info@B.Example", "bob@b.example", "eve@b.example")
        reader = self.reader("eve")
        reader.send("retrieve", after=0, wait=600)
        identity = fresh()
        self.assertEqual(self.outcome("info@b.example", identity), "accepted")
        found, = reader.recv().expect("ok").data["notifications"]
        self.assertEqual(addresses([found]), ["info@b.example"])
        self.assertEqual(found["notification"]["id"], identity)
        self.assertEqual(addresses(self.list(self.reader("bob"))), ["info@b.example"])
        # Said again, by the same and by another address: still one.
        for recipient in ("info@b.example", "bob@b.example", "eve+x@b.example"):
            self.assertEqual(self.outcome(recipient, identity), "accepted")
        for name in ("bob", "eve"):
            self.assertEqual(self.ids(self.reader(name)), [identity])
        stats = json.loads(self.agent.admin("stats", "--json").stdout)
        self.assertEqual((stats["aliases"], stats["announcements"], stats["notifications"]),
                         (1, 1, 2))
        # One acknowledges, the other keeps it; a withdrawal finds who has it.
        reader.call("acknowledge", cursors=[found["cursor"]]).expect("ok")
        self.withdraw(self.client, identity, "info@b.example")
        self.assertEqual(self.list(reader), [])
        marked, = self.list(self.reader("bob"))
        self.assertIs(marked["withdrawn"], True)
        self.assertEqual(addresses([marked]), ["info@b.example"])
        self.agent.admin("check")

    def test_many(self):
        """notifyMany: each addressee as it was written."""
        self.alias("add", "info@b.example", "bob@b.example", "eve@b.example")
        wanted = ["bob@b.example", "info@b.example", "nobody@b.example", "eve+x@b.example"]
        addressees = [{"recipient": wire.mailbox(m), "id": fresh()} for m in wanted]
        for _ in range(2):
            done = self.client.call("notifyMany", common=self.note(addressees[0]["id"]),
                                    addressees=addressees).expect("ok")
            self.assertEqual(done.data["results"],
                             ["accepted", "accepted", "noUser", "accepted"])
        self.assertEqual(addresses(self.list(self.reader("bob"))),
                         ["bob@b.example", "info@b.example"])
        self.assertEqual(addresses(self.list(self.reader("eve"))),
                         ["info@b.example", "eve+x@b.example"])
        self.agent.admin("check")

    def test_tags_and_catch_all(self):
        for recipient, result in (("bob+lists@b.example", "accepted"),
                                  ("bob-lists@b.example", "noUser"),
                                  ("x@b.example", "noUser")):
            self.assertEqual(self.outcome(recipient), result)
        self.alias("add", "@b.example", "eve@b.example")
        for recipient in ("x@b.example", "x+y@b.example", "bob+lists@b.example"):
            self.assertEqual(self.outcome(recipient), "accepted")
        self.assertEqual(addresses(self.list(self.reader("eve"))),
                         ["x@b.example", "x+y@b.example"])
        self.alias("remove", "@b.example")
        self.assertEqual(self.outcome("x@b.example"), "noUser")
        # SIGHUP: another character, then none at all.
        for tags, minus in (("-", "accepted"), ("none", "noUser")):
            self.agent.set(plus_tags=tags)
            self.agent.reread("done")
            self.assertEqual(self.outcome("bob-lists@b.example"), minus)
            self.assertEqual(self.outcome("bob+lists@b.example"), "noUser")
        self.agent.set(plus_tags="?!")
        done = self.agent.admin("run", "--check", status=1)
        self.assertRegex(done.stderr, r'\Aim2000-notify: [^\n]+notify.conf:\d+: plus-tags "\?!"'
                                      r' divides nothing [^\n]+\n\Z')

    def test_policies(self):
        """Each decides for itself; a block of one is no business of the other's."""
        self.alias("add", "info@b.example", "bob@b.example", "eve@b.example")
        self.agent.admin("policy", "add", "blacklist", "@a.example", "--mailbox",
                         "bob@b.example")
        self.assertEqual(self.outcome("info@b.example"), "accepted")
        self.assertEqual((len(self.list(self.reader("bob"))),
                          len(self.list(self.reader("eve")))), (0, 1))
        self.agent.admin("policy", "add", "strangers", "refuse", "--mailbox", "eve@b.example")
        self.assertEqual(self.outcome("info@b.example"), "refused")

    def test_kept(self):
        """Over a restart, in a backup, and until the last mailbox goes."""
        self.alias("add", "info@b.example", "bob@b.example", "eve@b.example")
        self.alias("add", "info@b.example", "bob@b.example")
        self.alias("add", "sales@b.example", "bob@b.example")
        self.alias("add", "@b.example", "eve@b.example")
        wanted = {"@b.example": ["eve@b.example"],
                  "info@b.example": ["bob@b.example", "eve@b.example"],
                  "sales@b.example": ["bob@b.example"]}
        self.assertEqual(self.aliases(), wanted)
        lines = self.alias("list").stdout.splitlines()
        self.assertEqual([line.split() for line in lines], [[k, *v] for k, v in wanted.items()])
        copy = self.site.folder + "/copy"
        self.agent.admin("backup", copy)
        done = self.agent.admin("mailbox", "remove", "bob@b.example")
        self.assertEqual(done.stderr, "im2000-notify: alias sales@b.example has no mailbox left"
                                      " and is removed\n")
        self.assertEqual(self.aliases(), {"@b.example": ["eve@b.example"],
                                          "info@b.example": ["eve@b.example"]})
        done = self.alias("remove", "@b.example", "eve@b.example")
        self.assertIn("alias @b.example has no mailbox left", done.stderr)
        self.assertEqual(self.aliases(), {"info@b.example": ["eve@b.example"]})
        self.agent.admin("check")
        self.reconnect()
        self.agent.stop()
        self.agent.set(data=copy)
        self.agent.start()
        self.assertEqual(self.aliases(), wanted)

    def test_mistakes(self):
        self.alias("add", "info@b.example", "bob@b.example")
        for words, status, said in (
                (("alias",), 2, "alias wants add, list or remove"),
                (("alias", "add", "x@b.example"), 2, "an address and the mailboxes"),
                (("alias", "add", "x", "bob@b.example"), 2, '"x" is no address'),
                (("alias", "add", "@", "bob@b.example"), 2, '"@" is no address'),
                (("alias", "add", "x@b.example", "bob"), 2, '"bob" is no mailbox'),
                (("alias", "list", "x"), 2, "no name"),
                (("alias", "remove"), 2, "an address"),
                (("alias", "add", "x@c.example", "bob@b.example"), 1, "not served here"),
                (("alias", "add", "@c.example", "bob@b.example"), 1, "not served here"),
                (("alias", "add", "x@b.example", "y@b.example"), 1,
                 "there is no mailbox y@b.example"),
                (("alias", "add", "x@b.example", "info@b.example"), 1,
                 "info@b.example is an alias itself: name its mailboxes (bob@b.example)"),
                (("alias", "add", "info@b.example", "info@b.example"), 1, "is an alias itself"),
                (("alias", "add", "bob@b.example", "eve@b.example"), 1,
                 "bob@b.example is a mailbox"),
                (("alias", "remove", "x@b.example"), 1, "there is no alias x@b.example"),
                (("alias", "remove", "info@b.example", "eve@b.example"), 1,
                 "alias info@b.example does not lead to eve@b.example"),
                (("mailbox", "add", "info@b.example", "--token"), 1, "is an alias")):
            with self.subTest(words):
                done = self.agent.admin(*words, status=status)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"\Aim2000-notify: [^\n]+\n\Z")
                self.assertIn(said, done.stderr)
        self.assertEqual(self.aliases(), {"info@b.example": ["bob@b.example"]})


class Reader(Case):
    def test_list(self):
        """Bob sees which of his addresses a message came to."""
        self.two()
        self.b.admin("alias", "add", "info@b.example", "bob@b.example")
        text = "From: alice@a.example\r\nSubject: {}\r\n\r\nHello.\r\n"
        for name in ("bob", "info", "bob+shop"):
            sent = self.alice.json("send", "--to", name + "@b.example", stdin=text.format(name))
            self.settled(sent[0]["url"])
        self.assertEqual([m["recipient"] for m in self.bob.json("list")],
                         ["bob@b.example", "info@b.example", "bob+shop@b.example"])


if __name__ == "__main__":
    harness.main()

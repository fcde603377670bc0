"""Nothing of one mailbox is seen, counted or timed by who reads another; which addresses there are
is told to stores that prove themselves, and to them not without end."""

import os
import statistics
import time

import harness
import wire
from agents import Agent, fresh

# builds: plain asan

NOBODYS = 12345     # a cursor that no notification has


class Readers(Agent):
    """Bob has mail and tables; Eve is logged in."""

    settings = {"pull-cache": "1M"}

    def setUp(self):
        super().setUp()
        self.client = self.store("a.example")
        self.first = fresh()
        self.send(self.client, self.first, fresh(), fresh(), size=100, digest=bytes(32))
        self.withdraw(self.client, self.first)
        self.bob, self.eve = self.reader("bob"), self.reader("eve")
        self.bob.call("policy", action="add", table="blacklist", value="@x.example").expect("ok")
        self.before = self.state()

    def state(self):
        """All that Bob sees."""
        return (self.list(self.bob),
                self.bob.call("policy", action="show", table="blacklist").data["values"])

    def same(self, reader, name, theirs, nobodys):
        """A command about what is another's is answered, to the octet, as one about nothing."""
        octets = [reader.call(name, fields).octets for fields in (theirs, nobodys)]
        self.assertEqual(octets[0], octets[1], name)
        self.assertEqual(self.state(), self.before, name)

    def test_cursors_of_others(self):
        for cursor in [n["cursor"] for n in self.before[0]]:
            self.same(self.eve, "acknowledge", {"cursors": [cursor]}, {"cursors": [NOBODYS]})
            self.same(self.eve, "fetch", {"cursor": cursor, "type": "all", "offset": 0,
                                          "length": 100},
                      {"cursor": NOBODYS, "type": "all", "offset": 0, "length": 100})
            answer = self.eve.call("retrieve", after=cursor - 1, limit=1).expect("ok").data
            self.assertEqual(answer, {"notifications": [], "next": cursor - 1})
        self.eve.call("fetch", cursor=NOBODYS, type="all", offset=0, length=1).expect(
            "noSuchMessage")
        for command in ("retrieve", "retrieveAndClear"):
            fields = {"after": 0} if command == "retrieve" else {}
            answer = self.eve.call(command, fields).expect("ok").data
            self.assertEqual(answer, {"notifications": [], "next": 0})
        self.assertEqual(self.state(), self.before)

    def test_tables_of_others(self):
        shown = {"action": "show", "table": "blacklist"}
        self.assertEqual(self.eve.call("policy", shown).expect("ok").data["values"], [])
        self.same(self.eve, "policy", {"action": "remove", "table": "blacklist",
                                       "value": "@x.example"},
                  {"action": "remove", "table": "blacklist", "value": "@y.example"})
        self.eve.call("policy", action="add", table="blacklist", value="@a.example").expect("ok")
        self.eve.call("policy", action="add", table="strangers", value="refuse").expect("ok")
        self.assertEqual(self.state(), self.before)
        self.assertEqual(self.notify(self.client, self.note(fresh()),
                                     self.note(fresh(), "eve@b.example")),
                         ["accepted", "refused"])

    def test_waiting(self):
        """What comes for Bob answers no one but those who wait for Bob's."""
        after = self.before[0][-1]["cursor"]
        self.eve.send("retrieve", after=0, wait=600)
        self.bob.send("retrieve", after=after, wait=600)
        for_bob, for_eve = fresh(), fresh()
        self.send(self.client, for_bob)
        found, = self.bob.recv().expect("ok").data["notifications"]
        self.assertEqual(found["notification"]["id"], for_bob)
        self.withdraw(self.client, for_bob)
        self.send(self.client, for_eve, recipient="eve@b.example")
        found, = self.eve.recv().expect("ok").data["notifications"]
        self.assertEqual(found["notification"]["id"], for_eve)

    def test_no_login(self):
        """Before a login, after one that failed, and after one that was good before that."""
        commands = (("retrieve", {"after": 0}), ("retrieveAndClear", {}),
                    ("acknowledge", {"cursors": [self.before[0][0]["cursor"]]}),
                    ("policy", {"action": "show", "table": "blacklist"}),
                    ("fetch", {"cursor": self.before[0][0]["cursor"], "type": "all",
                               "offset": 0, "length": 1}))
        with self.agent.client("rnaqp") as client:
            for logins in ((), (("bob@b.example", "wrong"),),
                           (("eve@b.example", "secret"), ("bob@b.example", "wrong"))):
                for account, password in logins:
                    client.call("authenticate", account=account, password=password)
                for name, fields in commands:
                    client.send(name, fields)       # pipelined
                for name, _ in commands:
                    answer = client.recv().expect("notAuthenticated")
                    self.assertEqual((answer.name, answer.text),
                                     ("none", "authenticate first"), name)
        self.assertEqual(self.state(), self.before)

    def test_counting(self):
        """A cursor tells the time, as `received` does, and not what others got meanwhile."""
        for count in (0, 1, 150):
            for _ in range(count):
                self.client.send("notify", notifications=[self.note(fresh())])
            for _ in range(count):
                self.client.recv().expect("ok")
            self.send(self.client, fresh(), recipient="eve@b.example")
            found = self.list(self.eve)[-1]
            self.assertLessEqual(found["received"], found["cursor"])
            self.assertLess(found["cursor"], time.time() * 1000000 + 1)


class Logins(Agent):
    settings = {"login-failures": 1000000}

    def test_who_is_there(self):
        """No mailbox, a wrong password, one that has a token alone: the same words, and as much
        work, which is scrypt's."""
        self.agent.admin("mailbox", "add", "ann@b.example", "--token")
        times = {name: [] for name in ("bob", "ann", "nobody")}
        answers = set()
        for _ in range(9):
            for name, spent in times.items():
                with self.agent.client("rnaqp") as client:
                    began = time.monotonic()
                    answer = client.call("authenticate", account=name + "@b.example",
                                         password=f"wrong {os.urandom(4).hex()}")
                    spent.append(time.monotonic() - began)
                answers.add(answer.expect("notAuthenticated").octets)
        self.assertEqual(len(answers), 1)
        # Without scrypt it would be hundreds of times less.
        medians = [statistics.median(spent) for spent in times.values()]
        self.assertLess(max(medians), 5 * min(medians), times)


class Stores(Agent):
    settings = {"unknown-rate": 20, "mailbox-notifications": 3}

    def setUp(self):
        super().setUp()
        self.agent.admin("alias", "add", "info@b.example", "bob@b.example")
        self.known = self.store("a.example")

    def test_unproved(self):
        """Whatever there is at an address, who proves nothing is told the same."""
        self.send(self.known, *(fresh() for _ in range(3)), recipient="eve@b.example")   # full
        self.agent.admin("policy", "add", "blacklist", "@a.example", "--mailbox",
                         "bob@b.example")
        stranger, identity, answers = self.store("c.example"), fresh(), set()
        for name in ("bob", "eve", "info", "bob+x", "nobody", "nobody+x"):
            recipient = name + "@b.example"
            note = self.note(identity, recipient)
            answers.add(stranger.call("notify", notifications=[note]).octets)
            many = stranger.call("notifyMany", common=note, addressees=[
                {"recipient": wire.mailbox(recipient), "id": identity}]).expect("ok")
            self.assertEqual(many.data["results"], ["unverified"])
            self.withdraw(stranger, identity, recipient)
        self.assertEqual(len(answers), 1)

    def test_time_of_the_unproved(self):
        stranger = self.store()
        times = {name: [] for name in ("bob", "nobody")}
        for _ in range(101):
            for name, spent in times.items():
                note = self.note(fresh(), name + "@b.example")
                began = time.monotonic()
                self.assertEqual(self.notify(stranger, note), ["unverified"])
                spent.append(time.monotonic() - began)
        medians = [statistics.median(spent) for spent in times.values()]
        self.assertLess(max(medians), 5 * min(medians))

    def guess(self, client, sender, count):
        addressees = [{"recipient": wire.mailbox(f"x{i}@b.example"), "id": fresh()}
                      for i in range(count)]
        return client.call("notifyMany", common=self.note(fresh(), sender=sender),
                           addressees=addressees)

    def test_guessing(self):
        """Over the limit all of the domain waits, so that what is there cannot be told from what
        is not; other domains, the same address's too, do not."""
        done = self.guess(self.known, "alice@a.example", 19).expect("ok")
        self.assertEqual(set(done.data["results"]), {"noUser"})
        self.send(self.known, fresh())
        self.guess(self.known, "alice@a.example", 1000).expect("ok")    # a debt of 50 minutes
        again = self.store("a.example")
        for name in ("bob", "nobody"):
            late = again.call("notify", notifications=[
                self.note(fresh(), name + "@b.example")]).expect("tryLater")
            self.assertGreater(late.retry_after, 60)
        other = self.store("c.example")
        self.assertEqual(self.notify(other, self.note(fresh(), sender="carol@c.example"),
                                     self.note(fresh(), sender="alice@a.example")),
                         ["accepted", "unverified"])


class Kept(Stores):
    """Where what is not proved is kept, an address that nobody has is told to all: the limit is
    by network address then."""

    settings = {"unknown-rate": 20, "unverified": "keep"}
    test_unproved = test_time_of_the_unproved = None

    def test_guessing(self):
        stranger = self.store()
        done = self.guess(stranger, "alice@a.example", 1000).expect("ok")
        self.assertEqual(set(done.data["results"]), {"noUser"})
        self.guess(self.store(), "x@c.example", 1).expect("tryLater")
        self.send(self.known, fresh())


if __name__ == "__main__":
    harness.main()

"""Two days of one mailbox, with three mail programs that follow it, each by its own cursor: the
connections are cut, the agent is killed and restarted, notifications expire or are acknowledged.
What each program saw is what was sent: nothing lost, nothing twice, all in order."""

import collections
import os
import random
import socket
import sys
import threading
import time

import harness
import wire
from agents import Agent

# builds: plain asan
# time-limit: 300

HOURS = 48
RETENTION = 12 * 60 + 30    # minutes: half an hour off from where the clock ever stands
KILLS, STOPS = 10, 6        # at the most

CUT = (wire.Closed, OSError)    # what a connection that ends raises; TLS's errors are OSErrors


def going_on(answer):
    """Whether the session does: an agent that stops says so. Nothing else may go wrong."""
    return answer.status != "serviceShutdown" and bool(answer.expect("ok"))


class Follower(threading.Thread):
    """A mail program: waits for what comes after its cursor, reconnects, writes down what it
    saw: (id, withdrawn)."""

    def __init__(self, agent, token, seed):
        super().__init__(daemon=True)
        self.agent, self.token, self.random = agent, token, random.Random(seed)
        self.seen, self.wanted = [], []
        self.cursors = {}           # of each id, the last one
        self.cursor = self.last = 0
        self.connections = 0
        self.wrong = None
        self.lock = threading.Lock()
        self.sock = None            # of the connection, while there is one
        self.here = threading.Event()
        self.ended = False
        self.here.set()

    def run(self):
        while not self.ended:
            self.here.wait()
            try:
                self.follow()
            except CUT:
                time.sleep(0.01)
            except Exception as e:      # the test looks at it
                self.wrong = e
                return
            finally:
                with self.lock:
                    self.sock = None

    def follow(self):
        with self.agent.client("rnaqp") as client:
            with self.lock:
                self.sock = client.sock
                self.connections += 1
            answer = client.call("authenticate", account="bob@b.example", password=self.token)
            while going_on(answer) and self.here.is_set():
                # Pages of all sizes: a page that is full is followed by the next.
                answer = client.call("retrieve", after=self.cursor, wait=600,
                                     limit=self.random.choice((1, 2, 5, 100)))
                if answer.status == "ok":
                    self.take(answer.data)

    def take(self, data):
        for found in data["notifications"]:
            if found["cursor"] <= self.last:
                raise AssertionError(f"cursor {found['cursor']} after {self.last}")
            self.last = found["cursor"]
            identity = found["notification"]["id"]
            self.cursors[identity] = found["cursor"]
            self.seen.append((identity, found.get("withdrawn", False)))
        self.cursor = data["next"]

    def cut(self):
        """Its connection breaks, wherever it is."""
        with self.lock:
            if self.sock is not None and self.sock.fileno() >= 0:
                with socket.socket(fileno=os.dup(self.sock.fileno())) as same:
                    try:
                        same.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass    # it has ended by itself

    def leave(self):
        """Goes away, with its connection; it has seen all."""
        self.here.clear()
        self.cut()
        harness.wait_for("a mail program has left", lambda: self.sock is None)

    def end(self):
        self.ended = True
        self.cut()
        self.here.set()
        self.join()


class Sent:
    """A notification as the agent should have it."""

    def __init__(self, identity, drop, change):
        self.identity, self.drop, self.change = identity, drop, change
        self.withdrawn = False


class Days(Agent):
    settings = {"retention": f"{RETENTION}m", "origin-notifications": 10000}

    def prepare(self):
        self.clock = self.site.fake_clock()

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("IM2000_SEED") or random.SystemRandom().getrandbits(32))
        print(f"seed={self.seed}", file=sys.stderr)
        self.random = random.Random(self.seed)
        token = self.agent.admin("mailbox", "password", "bob@b.example", "--token").stdout.strip()
        self.token = token
        self.agent.admin("alias", "add", "info@b.example", "bob@b.example", "eve@b.example")
        self.cert = self.site.authority.issue("a.example", usage="serverAuth")
        self.peer = None
        self.minute = 0             # of the two days
        self.began = self.clock.now()
        self.kept = {}              # id: Sent, what the agent should have
        self.changes = 0
        self.counts = collections.Counter()
        self.left = {}              # follower: the change at which it left
        self.followers = [Follower(self.agent, token, self.seed + i) for i in range(3)]
        for f in self.followers:
            f.start()
            self.addCleanup(f.end)

    # ---- the store

    def connect(self):
        if self.peer is None:
            self.peer = self.agent.client("rnasp", cert=self.cert[0], key=self.cert[1])
            self.open.append(self.peer)
        return self.peer

    def trouble(self):
        """Something breaks, seldom; what the store said last may be answered or not."""
        what = self.random.random()
        if what < 0.08 and self.counts["kill"] < KILLS:
            self.counts["kill"] += 1
            self.agent.kill()
            self.agent.start()
        elif what < 0.12 and self.counts["stop"] < STOPS:
            self.counts["stop"] += 1
            self.agent.restart()
        elif what < 0.22:
            self.counts["cut"] += 1
            self.peer.close()
            self.peer = None
        elif what < 0.7:
            self.counts["cut"] += 1
            self.random.choice(self.followers).cut()

    def say(self, name, **fields):
        """A store's command, said again until it is answered."""
        while True:
            try:
                self.connect().send(name, **fields)
                self.trouble()
                if self.peer is not None:
                    answer = self.peer.recv()
                    if going_on(answer):
                        return answer.data
            except CUT:
                pass
            self.peer = None

    def send(self):
        """A few notifications, one by one or at once, to the mailbox's several addresses."""
        count = self.random.randint(1, 6)
        notes = []
        for _ in range(count):
            # Half of them end by their own time, before the agent would drop them or after.
            hours = self.random.choice((0, 0, 1, 2, 5, 11, 20))
            end = self.minute + hours * 60 + 30
            more = {"expires": int((self.began + end * 60) * 1000000)} if hours else {}
            address = self.random.choice(("bob", "bob", "bob+tag", "info"))
            notes.append((self.random.randbytes(16), address + "@b.example", more,
                          min(end, self.minute + RETENTION) if hours
                          else self.minute + RETENTION))
        if self.random.random() < 0.5:
            self.say_results("notify", notifications=[
                self.note(identity, address, **more) for identity, address, more, _ in notes])
        else:
            end, more = notes[0][3], notes[0][2]    # which is common to all
            notes = [(identity, address, more, end) for identity, address, _, _ in notes]
            self.say_results("notifyMany", common=self.note(notes[0][0], **more), addressees=[
                {"recipient": wire.mailbox(address), "id": identity}
                for identity, address, _, _ in notes])
        for identity, _, _, end in notes:
            self.changes += 1
            self.kept[identity] = Sent(identity, end, self.changes)
            self.tell(identity, False)
        self.last = [self.note(identity, address, **more) for identity, address, more, _ in notes]
        self.counts["sent"] += count

    def say_results(self, name, **fields):
        results = self.say(name, **fields)["results"]
        self.assertEqual(results, ["accepted"] * len(results))

    def repeat(self):
        """As stores do, who have not heard of a notification's being read."""
        self.say_results("notify", notifications=self.last)

    def withdraw_some(self):
        for sent in self.random.sample(list(self.kept.values()), min(2, len(self.kept))):
            self.say("withdraw", notifications=[{"recipient": wire.mailbox("bob@b.example"),
                                                 "id": sent.identity}])
            if not sent.withdrawn:
                self.changes += 1
                sent.withdrawn, sent.change = True, self.changes
                self.tell(sent.identity, True)
                self.counts["withdrawn"] += 1

    # ---- the readers

    def tell(self, identity, withdrawn):
        for f in self.followers:
            if f.here.is_set():
                f.wanted.append((identity, withdrawn))

    def settle(self):
        """Until each one that is here has seen all, and nothing else."""
        for f in self.followers:
            if f.here.is_set():
                harness.wait_for("a mail program has seen all",
                                 lambda f=f: f.wrong or len(f.seen) >= len(f.wanted))
            if f.wrong:
                raise f.wrong
            self.assertEqual(f.seen, f.wanted)

    def acknowledge_some(self):
        """What all have seen is forgotten, by one of them."""
        if self.left:
            return
        gone = self.random.sample(list(self.kept), len(self.kept) // 3)
        cursors = [self.followers[0].cursors[identity] for identity in gone]
        with self.agent.client("rnaqp") as reader:
            reader.call("authenticate", account="bob@b.example",
                        password=self.token).expect("ok")
            reader.call("acknowledge", cursors=cursors).expect("ok")
        for identity in gone:
            del self.kept[identity]
        self.counts["acknowledged"] += len(gone)

    def come_and_go(self):
        for f in self.followers:
            if f not in self.left and self.random.random() < 0.15:
                f.leave()
                self.left[f] = self.changes
            elif f in self.left and self.random.random() < 0.4:
                self.come_back(f)

    def come_back(self, f):
        """It will see what changed since it left and is still there, as it is now."""
        since = self.left.pop(f)
        f.wanted += [(sent.identity, sent.withdrawn) for sent in sorted(
            self.kept.values(), key=lambda sent: sent.change) if sent.change > since]
        f.here.set()

    def hour(self):
        self.clock.move(3600)
        self.minute += 60
        for sent in [s for s in self.kept.values() if s.drop < self.minute]:
            del self.kept[sent.identity]
            self.counts["dropped"] += 1

    def test_two_days(self):
        for _ in range(HOURS):
            for _ in range(self.random.randint(0, 3)):
                self.send()
                if self.random.random() < 0.3:
                    self.repeat()
            self.settle()
            if self.random.random() < 0.4:
                self.withdraw_some()
                self.settle()
            if self.random.random() < 0.2:
                self.acknowledge_some()
            self.hour()
            self.come_and_go()
        for f in list(self.left):
            self.come_back(f)
        self.settle()
        with self.agent.client("rnaqp") as reader:
            reader.call("authenticate", account="bob@b.example",
                        password=self.token).expect("ok")
            found = reader.call("retrieve", after=0, limit=1000).expect("ok").data
        self.assertEqual(
            [(n["notification"]["id"], n.get("withdrawn", False))
             for n in found["notifications"]],
            [(s.identity, s.withdrawn) for s in sorted(self.kept.values(),
                                                       key=lambda s: s.change)])
        # The two days had everything in them.
        for what in ("sent", "kill", "stop", "cut", "withdrawn", "acknowledged", "dropped"):
            self.assertGreater(self.counts[what], 0, what)
        print(dict(self.counts), "connections",
              [f.connections for f in self.followers], file=sys.stderr)


if __name__ == "__main__":
    harness.main()

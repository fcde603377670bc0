"""File descriptors that run out, thousands of sessions that come and go, and SIGTERM in the middle
of everything."""

# builds: plain asan
# time-limit: 300

import os
import random
import resource
import threading
import time

import harness
import submissions
import wire
from submissions import archive, envelope, message, submit, subject


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def cpu(daemon):
    """Seconds of processor time that it has had."""
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Case(submissions.Msoap):
    LOCAL = {"msrap": ("querySize", {"id": bytes(16)}),
             "rnasp": ("withdraw", {"notifications": []})}

    def ask(self, client):
        name, fields = self.LOCAL[client.kind]
        return client.call(name, fields)


class Descriptors(Case):
    def few(self, daemon, spare):
        """The daemon may have SPARE more than it has; all there are again after the test."""
        pid = daemon.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(daemon) + spare, before[1]))
        return lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def crowd(self, daemon, kind):
        """Sessions until none is to be had."""
        clients = []
        for _ in range(60):
            try:
                clients.append(daemon.client(kind, patience=5))
                self.ask(clients[-1])
            except (OSError, wire.Closed):
                return clients
        self.fail("there are always more")

    def out_of(self, daemon, kind):
        again = self.few(daemon, 10)
        clients = self.crowd(daemon, kind)
        self.assertGreater(len(clients), 3)
        # Those who are in are served, and the daemon sleeps meanwhile.
        used, start = cpu(daemon), time.monotonic()
        while time.monotonic() - start < 2:
            time.sleep(0.2)
            self.ask(clients[0])
        self.assertLess(cpu(daemon) - used, 1)
        self.assertRegex(daemon.log(), 'event=accept error="Too many open files" advice=')
        return again, clients

    def gets_in(self, daemon, kind):
        try:
            with daemon.client(kind) as client:
                return self.ask(client).status is not None
        except (OSError, wire.Closed):
            return False

    def test_store(self):
        """No new session, no new connection to an agent; all comes right afterwards."""
        clock = self.site.fake_clock()
        self.two()
        with self.store.originator("alice") as alice:
            again, clients = self.out_of(self.store, "msrap")
            sent = submit(alice, message("meanwhile"), "bob@b.example")["id"]
            harness.wait_for("it was tried", lambda: submissions.deliveries(
                alice, sent)["bob@b.example"]["attempts"] > 0)
            for client in clients:
                client.close()
            again()
            harness.wait_for("there is room again", lambda: self.gets_in(self.store, "msrap"))
            clock.move(120)
            self.wait_status(alice, sent, "notifying")
        self.wait_listed(1)

    def test_notify(self):
        self.two()
        again, clients = self.out_of(self.agent, "rnasp")
        clients.pop().close()
        harness.wait_for("there is room again", lambda: self.gets_in(self.agent, "rnasp"))
        for client in clients:
            client.close()
        again()
        with self.store.originator("alice") as alice:
            sent = submit(alice, message("afterwards"), "bob@b.example")["id"]
            self.wait_status(alice, sent, "notifying")

    def test_start(self):
        """With too few to start at all it says so."""
        self.two()
        self.store.stop()
        done = self.site.run(
            "/bin/sh", "-c", "ulimit -n 6; exec \"$0\" run -c \"$1\"",
            os.path.join(harness.BIN, "im2000-store"), self.store.conf, status=None)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr.splitlines()[-1], "^im2000-store: .*(descriptors|open files)")
        self.store.start()


class Sessions(Case):
    LOCAL_COUNT = 10000
    TLS_COUNT = 1000

    def come_and_go(self, daemon, kind):
        """Many at once and one after another; afterwards nothing of them is left."""
        path = os.path.join(daemon.folder, kind + ".socket")
        daemon.set(**{"listen-" + kind: [daemon.settings["listen-" + kind], "unix:" + path]})
        daemon.restart()
        scale = 1 if harness.sanitizer() == "plain" else 10
        self.round(daemon, kind, path, 500, 100)     # what is made once is there
        before, fds = daemon.memory()["VmRSS"], descriptors(daemon)
        self.round(daemon, kind, path, self.LOCAL_COUNT // scale, self.TLS_COUNT // scale)
        harness.wait_for("their descriptors are closed", lambda: descriptors(daemon) <= fds)
        if scale == 1:
            # An octet that each left behind would be 11 KB; a session is some 10 KiB.
            self.assertLess(daemon.memory()["VmRSS"] - before, 6 << 20)

    def round(self, daemon, kind, path, local, tls):
        for where, count, at_once in (path, local, 250), (daemon.address[kind], tls, 50):
            for _ in range(count // at_once):
                clients = [wire.Client(kind, where, daemon.domain, self.site.authority.ca)
                           for _ in range(at_once)]
                for client in clients[::2]:
                    self.ask(client)
                for client in clients:
                    client.close()

    def test_store(self):
        self.store = self.site.store("a.example")
        self.come_and_go(self.store, "msrap")

    def test_notify(self):
        self.agent = self.site.notify("b.example")
        self.come_and_go(self.agent, "rnasp")


class Busy(threading.Thread):
    """Does WORK(self) again and again until the daemon is gone."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work = work
        self.wrong = None

    def run(self):
        try:
            while True:
                self.work()
        except (OSError, wire.Closed):
            pass
        except AssertionError as e:
            if "serviceShutdown" not in str(e):
                self.wrong = e


class Terminated(Case):
    """SIGTERM while sessions submit, pull, watch, list and acknowledge."""

    def setUp(self):
        super().setUp()
        self.clock = self.site.fake_clock()
        self.two(allow_private="yes")
        self.agent.mailbox("eve")
        self.agent.set(origin_notifications=100000, mailbox_notifications=100000)
        self.agent.restart()
        self.chance = random.Random(2000)
        self.attempted, self.answered = [], []
        self.lock = threading.Lock()

    def number(self):
        with self.lock:
            self.attempted.append(f"letter-{len(self.attempted)}")
            return self.attempted[-1]

    def submitter(self, size):
        client = []

        def work():
            if not client:
                client.append(self.store.originator("alice"))
            name = self.number()
            octets = message(name, size)
            envelope(client[0], "bob@b.example", "eve@b.example", size=len(octets))
            client[0].recv().expect("ok")
            client[0].call("submitChunk", isLast=True, offset=0, data=octets).expect("ok")
            with self.lock:
                self.answered.append(name)
        return work

    def watcher(self):
        client, after = [], [0]

        def work():
            if not client:
                client.append(self.store.originator("alice"))
            after[0] = client[0].call("watch", after=after[0], wait=60).expect("ok").data["next"]
        return work

    def puller(self, known):
        client = []

        def work():
            if not client:
                client.append(self.store.client("msrap"))
            client[0].call("retrieve", id=known, type="all", offset=0, length=0).expect("ok")
        return work

    def reader(self):
        client, after = [], [0]

        def work():
            if not client:
                client.append(self.agent.reader("eve"))
            done = client[0].call("retrieve", after=after[0], wait=60).expect("ok").data
            after[0] = done["next"]
            cursors = [x["cursor"] for x in done["notifications"]]
            if cursors:
                client[0].call("acknowledge", cursors=cursors[::2]).expect("ok")
        return work

    def rounds(self, daemon):
        with self.store.originator("alice") as client:
            known = submit(client, message("known", 300000), "bob@b.example")["id"]
        for _ in range(4):
            threads = [Busy(work) for work in (
                self.submitter(300), self.submitter(300), self.submitter(400000), self.watcher(),
                self.puller(known), self.puller(known), self.reader())]
            goal = len(self.answered) + self.chance.randrange(5, 60)
            for thread in threads:
                thread.start()
            harness.wait_for("they are busy", lambda: len(self.answered) >= goal)
            self.assertEqual(daemon.stop(), 0)
            # The others go on without it.
            other = self.agent if daemon is self.store else self.store
            self.assertEqual(other.stop(), 0)
            for thread in threads:
                thread.join(harness.PATIENCE)
                self.assertFalse(thread.is_alive())
                self.assertIsNone(thread.wrong)
            self.store.admin("check")
            self.agent.admin("check")
            self.agent.start()
            self.store.start()
        with self.store.originator("alice") as client:
            kept = {subject(m["header"]) for m in archive(client)} - {"known"}
        self.assertLessEqual(set(self.answered), kept)
        self.assertLessEqual(kept, set(self.attempted))
        self.clock.move(3600)
        listed = [subject(n["header"]) for n in self.wait_all(kept)]
        self.assertEqual(sorted(listed), sorted(kept | {"known"}))

    def wait_all(self, kept):
        def look():
            found, after = [], 0
            with self.agent.reader("bob") as reader:
                while True:
                    done = reader.call("retrieve", after=after, limit=1000).expect("ok").data
                    if not done["notifications"]:
                        return len(found) > len(kept) and found
                    found += [x["notification"] for x in done["notifications"]]
                    after = done["next"]
        return harness.wait_for("all are listed", look)

    def test_store(self):
        self.rounds(self.store)

    def test_notify(self):
        self.rounds(self.agent)


if __name__ == "__main__":
    harness.main()

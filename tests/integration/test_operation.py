"""What an operator does with both daemons: metrics, service managers, SIGHUP, users of this
machine, keys, older databases."""

# builds: plain asan

import os
import re
import shutil
import signal
import socket
import time

import harness
import wire
from people import Case

MESSAGE = b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: Hi\r\n\r\nHello.\r\n"


def envelope(*to):
    return {"recipients": [wire.mailbox(m) for m in to], "lifetime": 0}


def submit(client, *to):
    """A message: the originator's id."""
    client.send("submitEnvelope", envelope(*to))
    client.send("submitChunk", isLast=True, offset=0, data=MESSAGE)
    answer = client.recv().expect("ok")
    client.recv().expect("ok")
    return answer.data["id"]


class Metrics(Case):
    def test_of_a_message(self):
        """One message from end to end, as the counters of both tell it."""
        self.b = self.site.notify("b.example", metrics="127.0.0.1:0")
        self.b.mailbox("bob")
        self.a = self.site.store("a.example",
                                 metrics="unix:" + os.path.join(self.site.folder, "m"))
        self.a.account("alice")
        before = self.a.metrics()
        self.assertEqual(before["im2000_store_submissions_total"], 0)
        self.assertEqual(before["im2000_store_jobs_late_seconds"], 0)
        alice = self.a.originator("alice")
        self.addCleanup(alice.close)
        own = submit(alice, "bob@b.example", "nobody@b.example")
        reader = self.b.reader("bob")
        self.addCleanup(reader.close)
        reader.call("retrieve", after=0, wait=30).expect("ok")
        wrong = self.b.client("rnaqp")
        wrong.call("authenticate", account="bob@b.example", password="x").expect(
            "notAuthenticated")
        wrong.close()
        harness.wait_for("both recipients were tried", lambda: sum(
            v for k, v in self.a.metrics().items()
            if k.startswith("im2000_store_notifications_total")) == 2)

        now = self.a.metrics()
        for name, value in {
                "im2000_store_submissions_total": 1,
                "im2000_store_submitted_octets_total": len(MESSAGE),
                'im2000_store_notifications_total{result="accepted"}': 1,
                'im2000_store_notifications_total{result="noUser"}': 1,
                'im2000_store_notifications_total{result="noServer"}': 0,
                'im2000_sessions_total{protocol="msoap"}': 1,
                'im2000_sessions{protocol="msoap"}': 1,
                'im2000_sessions{protocol="msrap"}': 0,
                'im2000_commands_total{protocol="msoap",kind="authenticate",status="ok"}': 1,
                'im2000_commands_total{protocol="msoap",kind="submitChunk",status="ok"}': 1,
                'im2000_logins_total{result="right"}': 1,
                'im2000_table_entries{table="message"}': 1,
                'im2000_table_entries{table="delivery"}': 2}.items():
            self.assertEqual(now[name], value, name)
        self.assertGreater(now['im2000_octets_total{protocol="msoap",direction="in"}'],
                           len(MESSAGE))
        self.assertEqual(now['im2000_store_jobs{state="due"}'], 0)
        self.assertEqual(now['im2000_store_jobs{state="waiting"}'], 2)   # both come again
        self.assertGreater(now["im2000_commit_jobs_count"], before["im2000_commit_jobs_count"])
        self.assertEqual(now['im2000_commit_jobs_bucket{le="+Inf"}'],
                         now["im2000_commit_jobs_count"])
        self.assertGreaterEqual(now["im2000_commit_jobs_sum"], now["im2000_commit_jobs_count"])
        self.assertGreater(now["im2000_database_file_octets"], 4096)
        self.assertGreater(now["im2000_certificate_expires_timestamp_seconds"], time.time())

        there = self.b.metrics()
        for name, value in {
                'im2000_notify_notifications_total{result="accepted"}': 1,
                'im2000_notify_notifications_total{result="noUser"}': 1,
                'im2000_commands_total{protocol="rnaqp",kind="authenticate",'
                'status="notAuthenticated"}': 1,
                'im2000_commands_total{protocol="rnaqp",kind="retrieve",status="ok"}': 1,
                'im2000_logins_total{result="wrong"}': 1,
                "im2000_notify_listed_total": 1,
                'im2000_table_entries{table="mailbox"}': 1}.items():
            self.assertEqual(there[name], value, name)

        alice.call("cancel", id=own).expect("ok")
        harness.wait_for("the agent has been told", lambda: self.a.metrics()[
            'im2000_store_withdrawals_total{result="accepted"}'] == 1)
        self.assertEqual(self.b.metrics()["im2000_notify_withdrawn_total"], 1)

    def test_only_for_this_machine(self):
        for daemon in (self.site.store("a.example", start=False),
                       self.site.notify("b.example", start=False)):
            for bad in "0.0.0.0:9400", "192.0.2.1:9400", "[::]:9400", "localhost:9400", "unix:m":
                daemon.set(metrics=bad)
                for arguments in (["run", "--check"], ["run"]):
                    done = daemon.admin(*arguments, status=1)
                    self.assertRegex(done.stderr, r"metrics: .* loopback address")
            daemon.set(metrics=None)


class Managed(harness.TestCase):
    """By a service manager: sockets that it opened, and what it is told."""

    def manager(self):
        path = os.path.join(self.site.folder, "manager")
        news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        news.bind(path)
        news.settimeout(harness.PATIENCE)
        self.addCleanup(news.close)
        return news, {"NOTIFY_SOCKET": path}

    def listening(self, *addresses):
        made = []
        for name, address in addresses:
            if isinstance(address, str):
                s = socket.socket(socket.AF_UNIX)
                s.bind(address)
                s.listen()
            else:
                s = socket.create_server(address)
            self.addCleanup(s.close)
            made.append((name, s))
        return made

    def test_both_daemons(self):
        local = os.path.join(self.site.folder, "local")
        for daemon, names, kind in (
                (self.site.store("a.example", start=False, metrics="127.0.0.1:1"),
                 ("msoap", "msrap"), "msoap"),
                (self.site.notify("b.example", start=False, metrics="127.0.0.1:1"),
                 ("rnasp", "rnaqp"), "rnaqp")):
            news, environment = self.manager()
            sockets = self.listening((names[0], ("127.0.0.1", 0)), (names[1], ("127.0.0.1", 0)),
                                     ("metrics", local))
            daemon.start(environment, sockets)
            self.assertEqual(news.recv(4096), b"READY=1\nSTATUS=serving")
            for i, name in enumerate(names):
                self.assertEqual(daemon.address[name], sockets[i][1].getsockname())
                daemon.client(name).close()
            self.assertIn("im2000_workers", daemon.metrics())
            client = daemon.client(kind)
            client.call("authenticate", account="x", password="y").expect("notAuthenticated")
            daemon.reload()
            self.assertRegex(news.recv(4096), rb"^RELOADING=1\nMONOTONIC_USEC=[0-9]+\n")
            self.assertRegex(news.recv(4096), rb"^READY=1\n")
            daemon.stop()
            self.assertRegex(news.recv(4096), rb"^STOPPING=1\n")
            client.recv().expect("serviceShutdown")
            self.assertTrue(client.closed())
            client.close()
            os.remove(local)
            os.remove(environment["NOTIFY_SOCKET"])

    def test_nothing_is_lost_over_a_restart(self):
        """Whoever connects while the daemon is away is served when it is back."""
        store = self.site.store("a.example", start=False)
        store.account("alice")
        sockets = self.listening(("", ("127.0.0.1", 0)))
        address = sockets[0][1].getsockname()
        # By address: both services share it.
        store.set(listen_msoap=harness.endpoint(address), listen_msrap=harness.endpoint(address))
        store.start(sockets=sockets)
        store.stop()
        raw = socket.create_connection(address, harness.PATIENCE)
        store.start(sockets=sockets)
        context = wire.client_context(self.site.authority.ca)
        context.set_alpn_protocols(["im2000-msoap/1"])
        client = wire.Peer("msoap", context.wrap_socket(raw, server_hostname="a.example"))
        self.addCleanup(client.close)
        client.send_raw(wire.frame(wire.command("msoap", "authenticate", account="alice",
                                                password="secret")))
        wire.Response("msoap", client.read_frame()).expect("ok")


class LocalUsers(harness.TestCase):
    """Over a UNIX socket the kernel says who is there."""

    def path(self):
        return os.path.join(self.site.folder, "local")

    def test_store(self):
        me = os.getuid()
        store = self.site.store(
            "a.example", start=False, listen_msoap=["unix:" + self.path(), "127.0.0.1:0"],
            local_user=[f"{me} alice", f"{me} with a blank", f"{me + 1} carol"])
        for name in "alice", "with a blank", "carol":
            store.account(name, "x@a.example")
        store.start()
        self.assertEqual(store.address["msoap"], self.path())

        def answer(account, password):
            with wire.Client("msoap", self.path(), None) as c:
                return c.call("authenticate", account=account, password=password).status
        for account, password, status in (
                ("alice", "", "ok"), ("with a blank", "", "ok"), ("alice", "secret", "ok"),
                ("alice", "wrong", "notAuthenticated"), ("carol", "", "notAuthenticated"),
                ("carol", "secret", "ok"), ("nobody", "", "notAuthenticated"),
                ("", "", "notAuthenticated")):
            self.assertEqual(answer(account, password), status, (account, password))
        with wire.Client("msoap", self.path(), None) as c:
            c.call("authenticate", account="alice", password="").expect("ok")
            c.call("submitEnvelope", recipients=[wire.mailbox("b@b.example")], lifetime=0,
                   sender=wire.mailbox("x@a.example")).expect("ok")
        # Not after the configuration has been changed.
        store.set(local_user=None)
        store.reload()
        harness.wait_for("it is read again",
                         lambda: answer("alice", "") == "notAuthenticated")

    def test_not_by_tcp(self):
        store = self.site.store("a.example", local_user=f"{os.getuid()} alice")
        store.account("alice")
        with store.client("msoap") as c:
            c.call("authenticate", account="alice", password="").expect("notAuthenticated")

    def test_agent(self):
        me = os.getuid()
        agent = self.site.notify(
            "b.example", start=False, listen_rnaqp="unix:" + self.path(),
            local_user=[f"{me} bob@B.Example", f"{me + 1} eve@b.example"])
        for name in "bob", "eve":
            agent.mailbox(name)
        agent.start()
        for account, password, status in (
                ("bob@b.example", "", "ok"), ("bob@B.EXAMPLE", "", "ok"),
                ("bob@b.example", "wrong", "notAuthenticated"),
                ("eve@b.example", "", "notAuthenticated"),
                ("nobody@b.example", "", "notAuthenticated"), ("bob", "", "notAuthenticated")):
            with wire.Client("rnaqp", self.path(), None) as c:
                c.call("authenticate", account=account, password=password).expect(status)
                if status == "ok":
                    c.call("retrieve", after=0).expect("ok")

    def test_mistakes(self):
        for daemon, good in ((self.site.store("a.example", start=False), "alice"),
                             (self.site.notify("b.example", start=False), "bob@b.example")):
            for bad in "alice", "no-such-user-here " + good, "1000":
                daemon.set(local_user=bad)
                done = daemon.admin("run", "--check", status=1)
                self.assertRegex(done.stderr, r"\.conf:\d+: local-user: ")
            daemon.set(local_user="1000 " + good)
            daemon.admin("run", "--check")
        daemon.set(local_user="1000 nonsense")
        self.assertIn("no mailbox", daemon.admin("run", "--check", status=1).stderr)
        daemon.set(local_user=None)


class Reload(Case):
    """SIGHUP: what is read again, and that a broken file changes nothing."""

    def issuer(self, daemon, kind):
        with daemon.client(kind) as c:
            return c.sock.getpeercert()["serialNumber"]

    def test_certificates_of_both(self):
        self.two()
        for daemon, kinds in (self.a, ("msoap", "msrap")), (self.b, ("rnasp", "rnaqp")):
            old = {self.issuer(daemon, kind) for kind in kinds}
            session = daemon.client(kinds[1])
            self.addCleanup(session.close)
            fresh = self.site.authority.issue(daemon.domain, usage="serverAuth")
            cert, key = daemon.settings["certificate"], daemon.settings["key"]
            for bad_cert, bad_key in ((cert + ".none", key), (cert, fresh[1]), (key, key)):
                daemon.set(certificate=bad_cert, key=bad_key)
                daemon.reread("kept")
                self.assertEqual({self.issuer(daemon, kind) for kind in kinds}, old)
            # The same names, other files: as a renewal does it.
            shutil.copy(fresh[0], cert)
            shutil.copy(fresh[1], key)
            daemon.set(certificate=cert, key=key)
            daemon.reread("done")
            now = {self.issuer(daemon, kind) for kind in kinds}
            self.assertEqual(len(now), 1)
            self.assertNotEqual(now, old)
        # And the new one proves the sender's domain.
        self.arrived()

    def test_broken_files(self):
        self.two()
        for daemon in self.a, self.b:
            good = dict(daemon.settings)
            for text in ("colour = blue\n", harness.config_text({**good, "idle-time": "soon"}),
                         harness.config_text({**good, "domain": None}), "\0"):
                harness.write(daemon.conf, text)
                said = daemon.reread("kept")
                self.assertRegex(said, r"level=error event=reload .*\.conf")
            os.remove(daemon.conf)
            daemon.reread("kept")
            daemon.set()
            daemon.reread("done")
        self.arrived()

    def test_values_of_the_store(self):
        self.two()
        self.a.restart()    # with the ports that the file has now
        self.a.set(max_message="1K", max_recipients="1", default_lifetime="1h",
                   log_level="debug")
        self.a.reread("done")
        c = self.a.originator("alice")
        self.addCleanup(c.close)
        c.call("submitEnvelope", envelope("bob@b.example"), size=1025).expect("tooBig")
        done = c.call("submitEnvelope", envelope("b1@b.example", "b2@b.example")).expect("ok").data
        self.assertEqual(done["recipients"], ["acceptable", "tooMany"])
        self.assertLess(done["expires"] / 1e6, time.time() + 3700)
        said = self.a.reread("done")
        self.assertNotIn("restart-wanted", said)
        self.a.set(workers="7", sessions="9", route="c.example rnasp 127.0.0.1:1",
                   dns_server="127.0.0.1:53")
        said = self.a.reread("done")
        self.assertIn("event=restart-wanted key=workers ", said)
        self.assertIn("event=restart-wanted key=sessions ", said)
        self.assertIn("event=restart-wanted key=route ", said)
        self.assertIn("event=restart-wanted key=dns-server ", said)
        self.assertNotIn("key=domain", said)

    def test_values_of_the_agent(self):
        self.two()
        self.arrived("First")
        self.b.set(mailbox_notifications="1")
        self.b.reread("done")
        url = self.send("Second")
        harness.wait_for("the mailbox is full", lambda: [
            d["notification"] for d in self.alice.json("status", url)] == ["full"])
        self.b.set(mailbox_notifications=None, unverified="keep", retention="1h")
        self.b.reread("done")
        with self.b.client("rnasp") as stranger:
            answer = stranger.call("notify", notifications=[wire.notification(
                "c.example", "bob@b.example", b"\1" * 16, "x@c.example", size=1)]).expect("ok")
            self.assertEqual(answer.data["results"], ["accepted"])


if __name__ == "__main__":
    harness.main()

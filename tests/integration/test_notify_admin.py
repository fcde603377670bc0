"""im2000-notify from its command line: init, mailboxes, backup, check, stats, reloading, and
what is said of a configuration or a command line that is wrong."""

import json
import os
import re
import stat

import harness
import wire

# builds: asan

PROGRAM = "im2000-notify"


class Case(harness.TestCase):
    def run_agent(self, *arguments, **options):
        return self.site.run(PROGRAM, *arguments, **options)

    def path(self, *parts):
        return os.path.join(self.site.folder, *parts)

    def one_line(self, done, *said):
        """The complaint: one line on stderr, by the program's name, nothing on stdout."""
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\A" + PROGRAM + r": [^\n]+\n\Z")
        for text in said:
            self.assertIn(text, done.stderr)


class Init(Case):
    def test_for_trying_out(self):
        """With --self-signed what init made serves at once; with --ca several trust each other."""
        first, second = self.path("b"), self.path("deep", "down", "c")
        self.run_agent("init", first, "--domain", "b.example", "--self-signed")
        self.run_agent("init", second, "--domain", "C.Example", "--ca", first)
        for folder, domain in ((first, "b.example"), (second, "c.example")):
            for name, mode in (("", 0o700), ("data", 0o700), ("notify.conf", 0o600),
                               ("key.pem", 0o600)):
                found = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
                self.assertEqual(found, mode, name)
            conf = os.path.join(folder, "notify.conf")
            self.run_agent("run", "-c", conf, "--check")
            self.run_agent("mailbox", "add", "bob@" + domain, "--password-file", "-", "-c", conf,
                           stdin="secret\n")
            settings = harness.config_read(conf)
            self.assertEqual(settings["domain"], [domain])
            settings["listen-rnasp"] = settings["listen-rnaqp"] = ["127.0.0.1:0"]
            harness.write(conf, harness.config_text(settings))
            process = self.site.start(PROGRAM, "run", "-c", conf)
            ready = self.ready(process)
            cert, key = (os.path.join(folder, name) for name in ("cert.pem", "key.pem"))
            with wire.Client("rnasp", ready, domain, os.path.join(first, "ca.pem"), cert,
                             key) as client:
                note = wire.notification(domain, "bob@" + domain, bytes(16), "eve@" + domain)
                done = client.call("notify", notifications=[note]).expect("ok")
                self.assertEqual(done.data["results"], ["accepted"])
            process.terminate()
            self.assertEqual(process.wait(harness.PATIENCE), 0)

    @staticmethod
    def ready(process):
        """Where it serves, once its ready line is there (its log comes the same way)."""
        for line in process.stdout:
            match = re.match(r"ready rnasp=127\.0\.0\.1:(\d+) rnaqp=127\.0\.0\.1:(\d+)\n\Z", line)
            if match:
                return "127.0.0.1", int(match.group(1))
        raise harness.Failed("it ended without a ready line")

    def test_plain(self):
        done = self.run_agent("init", self.path("b"), "--domain", "b.example", "--listen", "::1")
        self.assertIn("put the certificate for b.example into", done.stderr)
        settings = harness.config_read(self.path("b", "notify.conf"))
        self.assertEqual(settings["listen-rnasp"], ["[::1]:4403"])
        self.assertEqual(settings["listen-rnaqp"], ["[::1]:4404"])
        self.assertEqual(settings["unverified"], ["refuse"])
        # What it refers to is not there yet.
        self.one_line(self.run_agent("run", "-c", self.path("b", "notify.conf"), status=1),
                      self.path("b", "cert.pem"))

    def test_with_a_store(self):
        """Both daemons of a domain may share one folder, whichever is first."""
        self.run_agent("init", self.path("ca"), "--domain", "x.example", "--self-signed")
        for order in ((PROGRAM, "im2000-store"), ("im2000-store", PROGRAM)):
            folder = self.path(order[0])
            for program in order:
                self.site.run(program, "init", folder, "--domain", "b.example", "--self-signed",
                              "--ca", self.path("ca"))
            self.run_agent("run", "--check", "-c", os.path.join(folder, "notify.conf"))
            self.site.run("im2000-store", "run", "--check", "-c",
                          os.path.join(folder, "store.conf"))

    def test_never_over(self):
        """Nothing that is there is replaced; what was broken off can be said again."""
        folder = self.path("b")
        self.one_line(self.run_agent("init", folder, "--domain", "b.example", "--ca",
                                     self.path("no", "\x01"), status=1))
        self.run_agent("init", folder, "--domain", "b.example", "--self-signed")
        before = {name: os.stat(os.path.join(folder, name)).st_mtime_ns
                  for name in ("notify.conf", "cert.pem", "key.pem", "ca.pem")}
        self.one_line(self.run_agent("init", folder, "--domain", "c.example", "--self-signed",
                                     status=1), "notify.conf", "there already")
        for name, then in before.items():
            self.assertEqual(os.stat(os.path.join(folder, name)).st_mtime_ns, then, name)


class Mailboxes(Case):
    def setUp(self):
        super().setUp()
        self.agent = self.site.notify("b.example")

    def login(self, name, password, status="ok"):
        with self.agent.client("rnaqp") as client:
            client.call("authenticate", account=name, password=password).expect(status)

    def names(self):
        listed = self.agent.admin("mailbox", "list", "--json").stdout.splitlines()
        return [json.loads(line)["mailbox"] for line in listed]

    def test_while_it_runs(self):
        admin = self.agent.admin
        self.assertEqual(admin("mailbox", "list").stdout, "")
        harness.write(self.path("secret"), "from a file\r\nsecond line\n")
        done = admin("mailbox", "add", "bob@B.Example", "--password-file", self.path("secret"))
        self.assertEqual(done.stdout, "")
        token = admin("mailbox", "add", "ada@b.example", "--token").stdout.strip()
        self.assertRegex(token, r"\Aimt_[A-Za-z0-9_-]{43}\Z")
        admin("mailbox", "add", '"zoë @ home"@b.example', "--password-file", "-", stdin="é\n")
        self.login("bob@b.example", "from a file")
        self.login("ada@b.example", token)
        self.login('"zoë @ home"@b.example', "é")
        self.assertEqual(self.names(), ["ada@b.example", "bob@b.example", "zoë @ home@b.example"])
        listed = admin("mailbox", "list").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in listed],
                         ["ada@b.example", "bob@b.example", "zoë"])
        record = json.loads(admin("mailbox", "list", "--json").stdout.splitlines()[0])
        self.assertEqual(set(record), {"mailbox", "kept", "created"})
        self.assertRegex(record["created"], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        # A new password goes for the next login, a right one of before no more.
        admin("mailbox", "password", "bob@b.example", "--password-file", "-", stdin="new\n")
        self.login("bob@b.example", "from a file", "notAuthenticated")
        self.login("bob@b.example", "new")
        other = admin("mailbox", "password", "ada@b.example", "--token").stdout.strip()
        self.login("ada@b.example", token, "notAuthenticated")
        self.login("ada@b.example", other)
        self.agent.admin("check")

    def test_remove(self):
        """Its notifications go with it, and who is logged in sees no more of it."""
        self.agent.mailbox("bob")
        self.agent.mailbox("eve")
        with self.agent.reader("bob") as bob, self.agent.reader("eve") as eve:
            cert, key = self.site.authority.issue("a.example")
            with self.agent.client("rnasp", cert=cert, key=key) as client:
                for to in ("bob@b.example", "eve@b.example"):
                    note = wire.notification("a.example", to, bytes(16), "alice@a.example")
                    client.call("notify", notifications=[note]).expect("ok")
                record = json.loads(
                    self.agent.admin("mailbox", "list", "--json").stdout.splitlines()[0])
                self.assertEqual(record["kept"], 1)
                self.agent.admin("mailbox", "remove", "bob@b.example")
                note = wire.notification("a.example", "bob@b.example", bytes(16), "al@a.example")
                done = client.call("notify", notifications=[note]).expect("ok")
                self.assertEqual(done.data["results"], ["noUser"])
            bob.call("retrieve", after=0).expect("notAuthenticated")
            self.assertEqual(len(eve.call("retrieve", after=0).data["notifications"]), 1)
        self.login("bob@b.example", "secret", "notAuthenticated")
        self.agent.mailbox("bob", password="another")
        with self.agent.reader("bob", password="another") as bob:
            self.assertEqual(bob.call("retrieve", after=0).data["notifications"], [])
        self.agent.admin("check")

    def test_refused(self):
        self.agent.mailbox("bob")
        empty = self.path("empty")
        harness.write(empty, "\n")
        long = self.path("long")
        harness.write(long, "x" * 1025)
        secret = ("--password-file", "-")
        for arguments, status, said in (
                (("add", "bob@b.example", *secret), 1, "bob@b.example is there already"),
                (("add", "bob@b.example", "--token"), 1, "bob@b.example is there already"),
                (("add", "bob@c.example", *secret), 1, 'add "domain = c.example"'),
                (("add", "eve@b.example", "--password-file", self.path("no")), 1, "no"),
                (("add", "eve@b.example", "--password-file", empty), 1, "empty"),
                (("add", "eve@b.example", "--password-file", long), 1, "long"),
                (("remove", "eve@b.example"), 1, "there is no mailbox eve@b.example"),
                (("password", "eve@b.example", *secret), 1, "there is no mailbox eve"),
                (("password", "eve@b.example", "--token"), 1, "there is no mailbox eve"),
                (("add", "bob", *secret), 2, '"bob" is no mailbox'),
                (("add", "bob@", *secret), 2, '"bob@" is no mailbox'),
                (("add", *secret), 2, "mailbox add wants one mailbox"),
                (("add", "a@b.example", "c@b.example", *secret), 2, "wants one mailbox"),
                (("list", "bob@b.example"), 2, "mailbox list wants no name"),
                (("list", "--token"), 2, "mailbox list: option --token is not known here"),
                (("list", "--password-file", "x"), 2, "option --password-file is not known here"),
                (("remove", "bob@b.example", "--json"), 2, "option --json is not known here"),
                (("add", "x@b.example", "--token", *secret), 2, "exclude each other"),
                (("add", "x@b.example", "--password-file"), 2, "--password-file"),
                (("change",), 2, "mailbox wants add, list, remove or password"),
                ((), 2, "mailbox wants add, list, remove or password")):
            with self.subTest(arguments):
                words = ["mailbox", *arguments]
                if words[-1] != "--password-file":
                    words += ["-c", self.agent.conf]
                if len(words) == 3:     # the bare command: -c would be its verb
                    words = ["mailbox"]
                self.one_line(self.run_agent(*words, stdin="pw\n", status=status), said)
        self.assertEqual(self.names(), ["bob@b.example"])


class Operation(Case):
    def setUp(self):
        super().setUp()
        self.agent = self.site.notify("b.example")
        self.agent.mailbox("bob")
        self.cert = self.site.authority.issue("a.example", usage="serverAuth")

    def send(self, *identities):
        with self.agent.client("rnasp", cert=self.cert[0], key=self.cert[1]) as client:
            notes = [wire.notification("a.example", "bob@b.example", i, "alice@a.example")
                     for i in identities]
            done = client.call("notify", notifications=notes).expect("ok")
            self.assertEqual(done.data["results"], ["accepted"] * len(notes))

    def listed(self):
        with self.agent.reader("bob") as reader:
            return reader.call("retrieve", after=0, limit=1000).expect("ok").data["notifications"]

    def test_backup(self):
        """A copy made while it runs is all that there was, and serves in its place."""
        self.send(*(os.urandom(16) for _ in range(50)))
        before = self.listed()
        copy = self.path("copy", "of", "today")
        self.agent.admin("backup", copy)
        self.assertEqual(stat.S_IMODE(os.stat(copy).st_mode), 0o700)
        self.send(os.urandom(16))
        self.assertEqual(len(self.listed()), 51)
        self.one_line(self.agent.admin("backup", copy, status=1), "notify.mdb")
        self.one_line(self.agent.admin("backup", status=2), "backup wants one directory")
        self.agent.stop()
        self.agent.set(data=copy)
        self.agent.start()
        self.assertEqual(self.listed(), before)
        self.agent.admin("check")
        self.send(os.urandom(16))
        self.assertEqual(len(self.listed()), 51)

    def test_check_and_stats(self):
        self.assertEqual(self.agent.admin("check").stdout, "")
        self.send(*(os.urandom(16) for _ in range(3)))
        stats = json.loads(self.agent.admin("stats", "--json").stdout)
        self.assertEqual({key: stats[key] for key in
                          ("mailboxes", "announcements", "notifications")},
                         {"mailboxes": 1, "announcements": 3, "notifications": 3})
        answered = {"answered-" + name for name in (
            "accepted", "noUser", "refused", "full", "tryLater", "unverified")}
        self.assertEqual(set(stats), answered | {
            "mailboxes", "aliases", "announcements", "notifications", "policy-values",
            "cache-messages", "cache-octets", "cache-evicted", "fetch-hits", "fetch-misses",
            "pulled", "pulled-octets", "pulls-failed", "file-octets", "free-octets", "readers"})
        lines = self.agent.admin("stats").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], list(stats))
        done = self.agent.admin("check")
        self.assertEqual((done.stdout, done.stderr), ("", PROGRAM + ": all tables add up\n"))

    def test_reload(self):
        """SIGHUP: a new certificate for those who come, the old sessions go on."""
        def serial(client):
            return client.sock.getpeercert()["serialNumber"]

        before = self.agent.reader("bob")
        issue = self.site.authority.issue
        cert, key = issue("b.example", "more.example", usage="serverAuth")
        self.agent.set(certificate=cert, key=key)
        self.reload("result=done")
        with self.agent.reader("bob") as after:
            self.assertNotEqual(serial(before), serial(after))
            names = [name for _, name in after.sock.getpeercert()["subjectAltName"]]
            self.assertEqual(names, ["b.example", "more.example"])
            current = serial(after)
        before.call("retrieve", after=0).expect("ok")
        before.close()
        # What is wrong changes nothing, and is said.
        bad = issue("b.example")
        for settings, said in (
                ({"certificate": cert, "key": bad[1]}, "key"),
                ({"certificate": self.path("no"), "key": key}, self.agent.conf + ":3: certif"),
                ({"certificate": cert, "key": key, "log_level": "loud"}, "none of: error")):
            self.agent.set(**settings)
            self.reload(said)
            with self.agent.reader("bob") as client:
                self.assertEqual(serial(client), current)
        # What it reads beside certificates.
        self.agent.set(log_level="debug", first_command_time="1s")
        self.reload("result=done")
        with self.agent.client("rnaqp") as client:
            client.recv().expect("commandTimeout", abort=True)
            self.assertTrue(client.closed())
        harness.wait_for("it logs more", lambda: "level=debug" in self.agent.log())

    def reload(self, said):
        so_far = len(self.agent.log())
        self.agent.reload()
        harness.wait_for("it says what it did",
                         lambda: "event=reload" in self.agent.log()[so_far:])
        line, = [line for line in self.agent.log()[so_far:].splitlines()
                 if "event=reload" in line]
        self.assertIn(said, line)

    def test_log(self):
        """Neither passwords nor whole ids nor headers stand in the log."""
        identity = os.urandom(16)
        self.send(identity)
        self.agent.stop()
        log = self.agent.log()
        self.assertIn("kind=notify n=1 accepted=1", log)
        self.assertNotIn(identity.hex(), log)
        for line in log.splitlines():
            self.assertRegex(line, r"\A\S+Z level=(error|warn|info|debug) event=\S+")

    def test_ready_line(self):
        self.agent.stop()
        self.agent.set(listen_rnasp=["127.0.0.1:0", "[::1]:0"],
                       listen_rnaqp="unix:" + self.path("socket"))
        process = self.site.start(PROGRAM, "run", "-c", self.agent.conf)
        lines = iter(process.stdout.readline, "")
        ready = next(line for line in lines if line.startswith("ready"))
        self.assertRegex(ready, r"\Aready rnasp=127\.0\.0\.1:[1-9]\d* rnaqp=unix:"
                         + re.escape(self.path("socket")) + r"\n\Z")
        process.terminate()
        self.assertEqual(process.wait(harness.PATIENCE), 0)


class Wrong(Case):
    """Bad input: one clear line, the right exit status."""

    def setUp(self):
        super().setUp()
        self.agent = self.site.notify("b.example", start=False)

    def test_configuration(self):
        """Each is one line more or one changed in a good file."""
        good = self.agent.settings
        for change, said in (
                ({"domian": "x"}, '"domian" is no key here (allowed: domain, data,'),
                ({"domain": "-"}, 'domain: "-" is no domain name'),
                ({"workers": "many"}, 'workers: "many" is no number (allowed: 0 to 256)'),
                ({"retention": "1s"}, 'retention: "1s" is too small (allowed: 1m to'),
                ({"unverified": "maybe"}, '"maybe" is none of: refuse, keep'),
                ({"strangers": "keep"}, '"keep" is none of: accept, refuse'),
                ({"listen-rnasp": "here"}, '"here" is no address (allowed: 127.0.0.1:4403'),
                ({"log-level": ["info", "warn"]}, "stands in line"),
                ({"idle-time": ""}, "has no value"),
                ({"data": None}, "data: must be set"),
                ({"key": None}, "key: must be set")):
            with self.subTest(change):
                self.agent.settings = {**good, **change}
                self.agent.set()
                with open(self.agent.conf, encoding="utf-8") as file:
                    lines = file.read().splitlines()
                at = [n for n, line in enumerate(lines, 1)
                      if line.partition(" =")[0] in change]
                where = f"{self.agent.conf}:{at[-1]}: " if at else f"{self.agent.conf}: "
                for words in (("run",), ("run", "--check"), ("mailbox", "list"), ("stats",)):
                    done = self.run_agent(*words, "-c", self.agent.conf, status=1)
                    self.one_line(done, where, said)

    def test_files(self):
        good = dict(self.agent.settings)
        issue = self.site.authority.issue
        other = issue("b.example")
        text = self.path("text")
        harness.write(text, "this is no PEM\n")
        os.makedirs(self.path("open"))
        os.chmod(self.path("open"), 0o755)
        for change, said in (
                ({"certificate": self.path("no")}, self.path("no")),
                ({"certificate": text}, text),
                ({"key": other[1]}, "key"),
                ({"key": text}, text),
                ({"ca-file": text}, text),
                ({"ca-file": self.path("no")}, self.path("no")),
                ({"data": self.path("none")}, "im2000-notify init makes it"),
                ({"data": text}, "no directory"),
                ({"data": self.path("open")}, "chmod 700")):
            with self.subTest(change):
                self.agent.settings = {**good, **change}
                self.agent.set()
                at = "%s:%d: " % (self.agent.conf, 1 + list(self.agent.settings).index(
                    next(iter(change))))
                for words in (("run",), ("run", "--check")):
                    self.one_line(self.run_agent(*words, "-c", self.agent.conf, status=1), said,
                                  at)
        # Serving with a certificate for another domain is a warning, to be looked for by --check.
        for change, said in (
                (dict(zip(("certificate", "key"), issue("c.example"))), "domain b.example"),
                ({"domain": ["b.example", "c.example"]}, "domain c.example")):
            self.agent.settings = {**good, **change}
            self.agent.set()
            self.one_line(self.run_agent("run", "--check", "-c", self.agent.conf, status=1),
                          "does not cover", said)
            self.agent.start()
            self.agent.stop()
            self.assertIn("level=warn event=certificate", self.agent.log())
        for conf in (self.path("no.conf"), self.path("open")):
            self.one_line(self.run_agent("run", "-c", conf, status=1), conf)

    def test_port_in_use(self):
        taken = wire.socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.agent.set(listen_rnaqp=harness.endpoint(taken.getsockname()))
        self.one_line(self.run_agent("run", "-c", self.agent.conf, status=1),
                      harness.endpoint(taken.getsockname()), "in use")

    def test_no_database(self):
        harness.write(os.path.join(self.agent.folder, "data", "notify.mdb"), b"no database" * 999)
        self.one_line(self.run_agent("run", "-c", self.agent.conf, status=1), "notify.mdb")
        self.one_line(self.run_agent("check", "-c", self.agent.conf, status=1), "notify.mdb")

    def test_database_that_is_gone(self):
        """An agent without mailboxes would answer noUser: none is made up in its place."""
        path = os.path.join(self.agent.folder, "data", "notify.mdb")
        for spoil in (lambda: open(path, "wb").close(), lambda: os.unlink(path)):
            spoil()
            for command in ("run", "check", "stats"):
                self.one_line(self.run_agent(command, "-c", self.agent.conf, status=1),
                              "notify.mdb")

    def test_command_line(self):
        for words, said in (
                ((), "no command given"),
                (("serve",), 'there is no command "serve"'),
                (("--verbose",), 'there is no command "--verbose"'),
                (("run", "now"), "run wants -c FILE and nothing else"),
                (("run", "-c"), "run: option -c needs a value"),
                (("run", "-x"), "run: option -x is not known here"),
                (("run", "--fast"), "run: option --fast is not known here"),
                (("init",), "init wants a directory and --domain"),
                (("init", self.path("x")), "init wants a directory and --domain"),
                (("init", self.path("x"), "--domain"), "option --domain needs a value"),
                (("init", self.path("x"), "--domain", "a..b"), '"a..b" is no domain name'),
                (("init", self.path("x"), "--domain", "b.example", "--listen", "here"),
                 "--listen wants an address"),
                (("init", "a", "b", "--domain", "b.example"), "init wants a directory"),
                (("check", "it"), "check wants no argument"),
                (("check", "--json"), "check: option --json is not known here"),
                (("stats", "all"), "stats wants no argument"),
                (("stats", "--token"), "stats: option --token is not known here"),
                (("backup",), "backup wants one directory"),
                (("backup", "a", "b"), "backup wants one directory")):
            with self.subTest(words):
                done = self.run_agent(*words, status=2)
                self.one_line(done, said, "--help")
                self.assertFalse(os.path.exists(self.path("x")))

    def test_help(self):
        for words in (("--help",), ("-h",), ("run", "--help"), ("mailbox", "add", "--help"),
                      ("stats", "--json", "--help")):
            done = self.run_agent(*words)
            self.assertTrue(done.stdout.startswith("usage: im2000-notify"))
            self.assertEqual(done.stderr, "")
        self.assertRegex(self.run_agent("--version").stdout, r"\Aim2000-notify \d+\.\d+\n\Z")

    def test_where_the_configuration_is(self):
        environment = {"IM2000_NOTIFY_CONFIG": self.agent.conf}
        self.run_agent("mailbox", "list", environment=environment)
        self.one_line(self.run_agent("mailbox", "list", "-c", self.path("no"), status=1,
                                     environment=environment), self.path("no"))
        self.one_line(self.run_agent("mailbox", "list", status=1), "notify.conf")
        harness.write(self.path("notify.conf"), harness.config_text(self.agent.settings).replace(
            "data = data", "data = " + os.path.join(self.agent.folder, "data")))
        self.run_agent("mailbox", "list")


class Root(Case):
    """Root is refused. A user's own namespace has a root; where the kernel gives none, this
    counts as skipped."""

    def test_refused(self):
        unshare = "/usr/bin/unshare"
        if self.site.run(unshare, "-r", "true", status=None).returncode != 0:
            self.skipTest("no user namespaces here")
        self.agent = self.site.notify("b.example", start=False)
        program = os.path.join(harness.BIN, PROGRAM)
        for words in (("run", "-c", self.agent.conf), ("mailbox", "list", "-c", self.agent.conf),
                      ("init", self.path("x"), "--domain", "b.example")):
            done = self.site.run(unshare, "-r", program, *words, status=1)
            self.one_line(done, "does not run as root", "setpriv")
        self.assertFalse(os.path.exists(self.path("x")))


if __name__ == "__main__":
    harness.main()

"""The command line of im2000-store, with and without the daemon."""

# builds: plain asan

import json
import os
import re
import shutil
import signal
import subprocess

import harness

STORE = "im2000-store"


class Init(harness.TestCase):
    def init(self, *arguments, **options):
        return self.site.run(STORE, "init", *arguments, **options)

    def path(self, *names):
        return os.path.join(self.site.folder, *names)

    def mode(self, *names):
        return os.stat(self.path(*names)).st_mode & 0o7777

    def test_self_signed_works_as_it_is(self):
        self.init("a", "--domain", "A.Example", "--self-signed")
        self.assertEqual(self.mode("a", "data"), 0o700)
        for name in ("data/keys", "data/store.mdb", "key.pem", "ca.key", "store.conf"):
            self.assertEqual(self.mode("a", name), 0o600, name)
        self.site.run(STORE, "run", "--check", "-c", "a/store.conf")
        self.site.run(STORE, "check", "-c", "a/store.conf")

    def test_one_authority_for_two_domains(self):
        for name in ("a", "b"):
            self.init(name, "--domain", f"{name}.example", "--ca", "trial")
            self.site.run(STORE, "run", "--check", "-c", f"{name}/store.conf")
            subprocess.run(["openssl", "verify", "-CAfile", self.path("trial", "ca.pem"),
                            "-verify_hostname", f"{name}.example", "-purpose", "sslserver",
                            self.path(name, "cert.pem")], check=True, capture_output=True)

    def test_listen(self):
        for host, written in ("::1", "[::1]:4401"), ("192.0.2.1", "192.0.2.1:4401"):
            self.init(host, "--domain", "a.example", "--listen", host)
            settings = harness.config_read(self.path(host, "store.conf"))
            self.assertEqual(settings["listen-msoap"], [written])
            self.assertNotIn("allow-private", settings)

    def test_twice_changes_nothing(self):
        self.init("a", "--domain", "a.example")
        with open(self.path("a", "data", "keys"), encoding="ascii") as file:
            keys = file.read()
        done = self.init("a", "--domain", "b.example", status=1)
        self.assertIn("there already", done.stderr)
        # What an init that was cut off has made is used on.
        os.remove(self.path("a", "store.conf"))
        self.init("a", "--domain", "a.example")
        with open(self.path("a", "data", "keys"), encoding="ascii") as file:
            self.assertEqual(file.read(), keys)

    def test_used_wrongly(self):
        for arguments in ([], ["a"], ["--domain", "a.example"], ["a", "--domain"],
                          ["a", "--domain", "a..example"], ["a", "b", "--domain", "a.example"],
                          ["a", "--domain", "a.example", "--listen", "localhost"],
                          ["a", "--domain", "a.example", "--colour"]):
            done = self.init(*arguments, status=2)
            self.assertRegex(done.stderr, r"^im2000-store: .+ \(see im2000-store --help\)\n$")
            self.assertEqual(done.stdout, "")
        self.assertFalse(os.path.exists(self.path("a")))


class Commands(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.store = self.site.store("a.example", start=False)

    def accounts(self):
        done = self.store.admin("account", "list", "--json")
        return {a["account"]: a for a in map(json.loads, done.stdout.splitlines())}

    def test_help_and_version(self):
        self.assertIn("account add", self.site.run(STORE, "--help").stdout)
        self.assertIn("account add", self.site.run(STORE, "account", "--help").stdout)
        self.assertRegex(self.site.run(STORE, "--version").stdout, r"^im2000-store [0-9.]+\n$")

    def test_accounts(self):
        self.store.account("alice", "ALICE@A.Example", "@lists.a.example", quota="10G")
        self.store.account("b ö", "b@a.example")
        accounts = self.accounts()
        self.assertEqual(list(accounts), ["alice", "b ö"])
        self.assertEqual(accounts["alice"]["senders"], ["ALICE@a.example", "@lists.a.example"])
        self.assertEqual(accounts["alice"]["quota"], 10 << 30)
        self.assertEqual(accounts["alice"]["used"], 0)
        text = self.store.admin("account", "list").stdout
        self.assertEqual(len(text.splitlines()), 2)
        self.assertIn("ALICE@a.example @lists.a.example", text)

        done = self.store.admin("account", "add", "alice", "--sender", "x@a.example", "--token",
                                status=1)
        self.assertIn("there already", done.stderr)
        self.assertEqual(done.stdout, "")   # no token of an account that was not made
        self.store.admin("account", "remove", "alice")
        self.assertEqual(list(self.accounts()), ["b ö"])
        for arguments in (["remove", "alice"], ["password", "alice", "--token"]):
            done = self.store.admin("account", *arguments, status=1)
            self.assertIn("no account alice", done.stderr)

    def test_secrets(self):
        self.store.start()
        self.store.account("alice", password="first")
        self.store.originator("alice", password="first").close()
        self.store.admin("account", "password", "alice", "--password-file", "-",
                         stdin="second\nline\n")
        self.store.originator("alice", password="second").close()
        client = self.store.client("msoap")
        self.addCleanup(client.close)
        client.call("authenticate", account="alice", password="first").expect("notAuthenticated")
        token = self.store.admin("account", "password", "alice", "--token").stdout
        self.assertRegex(token, r"^imt_[A-Za-z0-9_-]{43}\n$")
        self.store.originator("alice", password=token.strip()).close()
        for stdin in "", "\n":
            self.store.admin("account", "password", "alice", "--password-file", "-",
                             stdin=stdin, status=1)
        self.store.originator("alice", password=token.strip()).close()

    def test_used_wrongly(self):
        add = ["account", "add"]
        for arguments in (
                [], ["nonsense"], ["account"], ["account", "nonsense"], [*add],
                [*add, "alice"], [*add, "alice", "--token"],
                [*add, "alice", "bob", "--sender", "a@a.example", "--token"],
                [*add, "alice", "--sender", "nonsense", "--token"],
                [*add, "alice", "--sender", "@", "--token"],
                [*add, "", "--sender", "a@a.example", "--token"],
                [*add, "x" * 129, "--sender", "a@a.example", "--token"],
                [*add, "a\nb", "--sender", "a@a.example", "--token"],
                [*add, "alice", "--sender", "a@a.example", "--quota", "much", "--token"],
                [*add, "alice", "--sender", "a@a.example", "--token", "--password-file", "-"],
                ["account", "list", "--token"], ["account", "list", "alice"],
                ["account", "remove"], ["account", "password"], ["backup"],
                ["backup", "x", "y"], ["check", "x"], ["stats", "--quota", "1"], ["run", "x"],
                ["check", "-c"], ["run", "--nonsense"]):
            done = self.site.run(STORE, *arguments, status=2)
            self.assertRegex(done.stderr, r"\Aim2000-store: [^\n]+ \(see im2000-store --help\)\n\Z",
                             arguments)
            self.assertEqual(done.stdout, "")
        self.assertEqual(self.accounts(), {})

    def test_configuration(self):
        done = self.site.run(STORE, "stats", status=1)
        self.assertIn("store.conf", done.stderr)
        self.site.run(STORE, "stats", environment={"IM2000_STORE_CONFIG": self.store.conf})
        self.site.run(STORE, "stats", "-c", self.store.conf,
                      environment={"IM2000_STORE_CONFIG": "/nonexistent"})
        self.store.set(colour="blue")
        done = self.store.admin("stats", status=1)
        self.assertRegex(done.stderr, r'store\.conf:\d+: "colour"')
        self.store.set(colour=None)

    def test_data_directory(self):
        data = self.store.data
        for mode in 0o755, 0o710:
            os.chmod(data, mode)
            for arguments in (["stats"], ["run", "--check"], ["run"]):
                done = self.store.admin(*arguments, status=1)
                self.assertIn("chmod 700", done.stderr)
        os.chmod(data, 0o700)
        keys = os.path.join(data, "keys")
        os.chmod(keys, 0o640)
        self.assertIn("chmod 600", self.store.admin("run", status=1).stderr)
        os.chmod(keys, 0o600)
        # What was lost is not made anew in silence.
        for name in "keys", "store.mdb":
            path = os.path.join(data, name)
            os.rename(path, path + ".away")
            done = self.store.admin("run", status=1)
            self.assertIn(name, done.stderr)
            self.assertFalse(os.path.exists(path))
            os.rename(path + ".away", path)

    def test_one_daemon(self):
        self.store.start()
        done = self.store.admin("run", status=1)
        self.assertIn(f"number {self.store.process.pid}", done.stderr)
        self.store.kill()
        self.store.start()


class Backup(harness.TestCase):
    """A copy made while the daemon takes messages serves what was in it, by the same ids."""

    def setUp(self):
        super().setUp()
        self.store = self.site.store("a.example")
        self.store.account("alice")

    def test_backup_and_restore(self):
        alice = self.site.person("alice", store=self.store)
        for n in range(5):
            alice.run("send", "--to", "bob@nowhere.example",
                      stdin=f"From: alice@a.example\r\nSubject: {n}\r\n\r\nx\r\n", status=None)
        done = self.store.admin("backup", "copy")
        self.assertEqual(done.stdout, "")
        copy = os.path.join(self.site.folder, "copy")
        self.assertEqual(sorted(os.listdir(copy)), ["keys", "store.mdb"])
        self.assertEqual(os.stat(copy).st_mode & 0o7777, 0o700)
        for name in os.listdir(copy):
            self.assertEqual(os.stat(os.path.join(copy, name)).st_mode & 0o7777, 0o600)
        done = self.store.admin("backup", "copy", status=1)
        self.assertIn("store.mdb", done.stderr)
        before = alice.json("status")

        self.store.stop()
        data = self.store.data
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        self.store.admin("check")
        self.store.start()
        after = alice.json("status")
        self.assertEqual([m.get("url") for m in after], [m.get("url") for m in before])
        stats = json.loads(self.store.admin("stats", "--json").stdout)
        self.assertEqual(stats["messages"], 5)
        self.assertEqual(stats["accounts"], 1)

    def test_check_finds(self):
        self.store.stop()
        alone = os.path.join(self.site.folder, "alone")
        self.store.admin("backup", alone)
        with open(os.path.join(alone, "store.mdb"), "r+b") as file:
            octets = bytearray(file.read())
            # The name in the account's record and in the key that leads to it.
            places = [m.start() for m in re.finditer(b"alice", octets)]
            self.assertGreaterEqual(len(places), 2)
            octets[places[0]:places[0] + 5] = b"bobby"
            file.seek(0)
            file.write(octets)
        shutil.copy(self.store.conf, self.store.conf + ".alone")
        with open(self.store.conf + ".alone", "w", encoding="utf-8") as file:
            file.write(harness.config_text({**self.store.settings, "data": alone}))
        done = self.site.run(STORE, "check", "-c", self.store.conf + ".alone", status=1)
        self.assertIn("account 1: ", done.stdout)
        self.assertIn("do not add up", done.stderr)


if __name__ == "__main__":
    harness.main()

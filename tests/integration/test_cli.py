"""im2000 on the command line: what it says to every mistake, and its doctor."""

import json
import os
import re
import subprocess

import certs
import dns
import harness
from people import MESSAGE, Case


class Mistakes(Case):
    """Bad input: the exit status, one line on stderr, nothing on stdout."""

    def check(self, done, status, pattern):
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        self.only(done, pattern)

    def test_command_line(self):
        cases = [
            ([], "no command"),
            (["frobnicate"], 'no command "frobnicate"'),
            (["--frobnicate"], "--frobnicate is no option"),
            (["-x"], "-x is no option"),
            (["-c"], "-c wants a value"),
            (["--json=yes", "list"], "takes no value"),
            (["list", "more"], 'takes no "more"'),
            (["list", "--frobnicate"], "--frobnicate is no option"),
            (["list", "-q"], "-q is no option"),
            (["list", "-c"], "-c wants a value"),
            (["list", "--json=1"], "takes no value"),
            (["list", "--account"], "--account wants a value"),
            (["wait", "--exec"], "--exec wants a value"),
            (["wait", "5"], 'takes no "5"'),
            (["doctor", "me"], 'takes no "me"'),
            (["read"], "one message"),
            (["read", "1", "2"], "one message"),
            (["read", "one"], "no number"),
            (["read", "0"], "no number"),
            (["read", "-1"], "-1 is no option"),
            (["read", "4294967296"], "no number"),
            (["read", "1\n2"], "no number"),
            (["read", "1", "--part"], "--part wants a value"),
            (["read", "1", "--part", ""], "wants a section"),
            (["read", "1", "--raw", "--headers"], "one of"),
            (["read", "1", "--part", "1", "--save", "x"], "one of"),
            (["structure"], "one message"),
            (["structure", "x"], "no number"),
            (["drop"], "numbers"),
            (["drop", "1", "x"], "no number"),
            (["refuse"], "numbers"),
            (["refuse", "1", "--reason"], "--reason wants a value"),
            (["refuse", "1", "--reason", b"\xff"], "not UTF-8"),
            (["status", "1", "2"], "one number or URL"),
            (["status", "im2000://a.example/short"], "neither"),
            (["status", "http://a.example/"], "neither"),
            (["status", "im2000:///" + "0" * 26], "neither"),
            (["cancel"], "one message"),
            (["cancel", "im2000://a.example/" + "z" * 26], "neither"),
            (["cancel", "1", "--to", "nobody"], "no mailbox"),
            (["send", "a", "b"], "one FILE"),
            (["send", "--to", "bob"], "no mailbox"),
            (["send", "--to", "@b.example"], "no mailbox"),
            (["send", "--to", "bob@[127.0.0.1]"], "no mailbox"),
            (["send", "--to", "bob@b..example"], "no mailbox"),
            (["send", "--to", "x" * 300 + "@b.example"], "no mailbox"),
            (["send", "--lifetime", "soon"], "no lifetime"),
            (["send", "--lifetime", "0"], "no lifetime"),
            (["send", "--lifetime", "-1d"], "no lifetime"),
            (["send", "--at", "tomorrow"], "no time"),
            (["send", "--draft", "--at", "+1h"], "exclude"),
        ]
        for arguments, pattern in cases:
            with self.subTest(arguments):
                self.check(self.site.run("im2000", *arguments, status=None), 2,
                           re.escape(pattern))

    def test_help_and_version(self):
        for arguments in (["--help"], ["send", "--help"], ["read", "--help", "1"], ["--version"]):
            with self.subTest(arguments):
                done = self.site.run("im2000", *arguments)
                self.assertRegex(done.stdout, "^(usage: )?im2000 ")
                self.assertEqual(done.stderr, "")
        listed = self.site.run("im2000", "--help").stdout
        for command in ("send", "list", "read", "structure", "status", "wait", "drop", "refuse",
                        "cancel", "doctor"):
            self.assertIn(f"\n  {command}", listed)

    def test_configuration(self):
        good = "[account home]\nmailbox = bob@b.example\n"
        works = good + "notify-password-command = echo secret\n"
        cases = [
            (None, "agent.conf"),
            ("", "there is no account"),
            ("colour = red\n" + good, "agent.conf:1.*colour"),
            ("data\n" + good, "agent.conf:1"),
            ("allow-private = perhaps\n" + good, "agent.conf:1.*allow-private.*yes"),
            ("route = b.example\n" + good, "agent.conf:1.*route"),
            ("route = b.example imap 127.0.0.1:1\n" + good, "agent.conf:1.*route"),
            ("ca-file = /nonexistent/ca.pem\n" + works, "/nonexistent/ca.pem"),
            ("dns-server = nowhere\n" + works, "agent.conf:1.*nowhere"),
            ("[accounts]\n", "section"),
            ("[account ]\n", "section"),
            ("[account home]\n", "mailbox"),
            ("[account home]\nmailbox = bob\n", "no mailbox"),
            ("[account home]\nmailbox = bob@b.example\nmailbox = bob@b.example\n",
             "agent.conf:3.*mailbox"),
            (good + "stor-domain = a.example\n", "agent.conf:3.*stor-domain"),
            (good + "store-domain = a..example\n", "store-domain"),
            (good + good, "there twice"),
            (good + good.replace("home", "away"), "same notify-login"),
            (good, "notify-password-file"),
            (good + "notify-password-file = /nonexistent/password\n", "/nonexistent/password"),
            (good + "notify-password-file = empty\n", "empty"),
            (good + "notify-password-command = exit 3\n", "status 3"),
            (good + "notify-password-command = true\n", "printed nothing"),
        ]
        conf = os.path.join(self.site.folder, "agent.conf")
        harness.write(os.path.join(self.site.folder, "empty"), "")
        for text, pattern in cases:
            with self.subTest(text):
                if text is not None:
                    harness.write(conf, text)
                done = self.site.run("im2000", "-c", conf, "list", status=None,
                                     environment={"HOME": self.site.folder})
                self.check(done, 1, pattern)

    def test_account_option(self):
        self.two()
        done = self.bob.run("--account", "work", "list", status=1)
        self.only(done, 'no account "work"')
        for name in ("home", "bob@b.example"):
            self.assertEqual(self.bob.run("list", "--account", name).stdout, "")

    def test_data_directory(self):
        self.two()
        harness.write(os.path.join(self.bob.folder, "file"), "x")
        self.bob.set(data=os.path.join(self.bob.folder, "file"))
        self.only(self.bob.run("list", status=1), "no directory")

    def test_numbers_of_nothing(self):
        self.two()
        for arguments in (["read", "7"], ["structure", "7"], ["drop", "7"], ["refuse", "7"],
                          ["read", "7", "--raw"]):
            self.only(self.bob.run(*arguments, status=1), "no message 7")
        self.only(self.alice.run("status", "7", status=1), "no message 7")
        self.only(self.alice.run("cancel", "7", status=1), "no message 7")
        self.only(self.alice.run("status", "im2000://c.example/" + "0" * 26, status=1),
                  "no account submits to c.example")
        self.only(self.alice.run("status", "im2000://a.example/" + "0" * 26, status=1),
                  "no such message")
        self.only(self.alice.run("cancel", "im2000://a.example/" + "0" * 26, status=1),
                  "no such message")

    def test_wrong_password(self):
        self.two()
        for person, arguments in ((self.alice, ["send"]), (self.bob, ["list"]),
                                  (self.bob, ["wait"])):
            harness.write(os.path.join(person.folder, "password"), "wrong\n")
            done = person.run(*arguments, status=1, stdin=MESSAGE.format("x"))
            self.only(done, "log in as .*login or password is wrong")

    def test_output_that_fails(self):
        self.two()
        self.arrived()
        self.bob.write_conf()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([os.path.join(harness.BIN, "im2000"), "-c", self.bob.conf,
                                   "list"], stdout=full, stderr=subprocess.PIPE, text=True,
                                  check=False, env=self.site.environment())
        self.assertEqual(done.returncode, 1)
        self.only(done, "standard output")


class Doctor(Case):
    def checks(self, person, status):
        done = person.run("doctor", "--json", status=status)
        self.assertEqual(done.stderr, "")
        return {r["check"]: r for r in map(json.loads, done.stdout.splitlines())}

    def test_well(self):
        self.two()
        found = self.checks(self.bob, 0)
        self.assertTrue(all(r["ok"] for r in found.values()))
        self.assertLessEqual({"notify password", "lookup rnasp", "connect rnasp", "lookup rnaqp",
                              "connect rnaqp", "login rnaqp", "sending"}, set(found))
        found = self.checks(self.alice, 0)
        self.assertLessEqual({"store password", "lookup msoap", "connect msoap", "login msoap",
                              "lookup msrap", "connect msrap"}, set(found))
        self.assertIn("ok     home: login msoap a.example: alice",
                      self.alice.run("doctor").stdout)

    def test_wrong(self):
        self.two()
        harness.write(os.path.join(self.alice.folder, "password"), "wrong\n")
        found = self.checks(self.alice, 1)
        self.assertEqual([c for c, r in found.items() if not r["ok"]], ["login msoap"])
        self.assertIn("agent.conf", found["login msoap"]["text"])

        os.remove(os.path.join(self.alice.folder, "password"))
        found = self.checks(self.alice, 1)
        self.assertEqual([c for c, r in found.items() if not r["ok"]], ["store password"])

        self.b.stop()
        found = self.checks(self.bob, 1)
        self.assertEqual([c for c, r in found.items() if not r["ok"]],
                         ["connect rnasp", "connect rnaqp"])

        other = certs.Authority(self.site.folder + "/other-ca")
        self.b.start()
        self.bob.set(ca_file=other.ca)
        found = self.checks(self.bob, 1)
        self.assertIn("ca-file", found["connect rnaqp"]["text"])

        server = self.site.dns({"example": dns.zone("example", "")})
        self.bob.set(route=[], dns_server=server.address)
        found = self.checks(self.bob, 1)
        self.assertEqual([c for c, r in found.items() if not r["ok"]],
                         ["lookup rnasp", "lookup rnaqp"])


if __name__ == "__main__":
    harness.main()

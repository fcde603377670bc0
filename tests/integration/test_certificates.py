"""Several domains at one store and one agent, each with a certificate of its own."""

# builds: plain asan

import os
import shutil
import ssl
import time

import harness
from people import Case


class Domains(Case):
    def setUp(self):
        super().setUp()
        issue = self.site.authority.issue
        self.files = {d: issue(d, usage="serverAuth")
                      for d in ("a.example", "b.example", "c.example", "d.example")}
        self.b = self.site.notify("b.example", start=False)
        self.b.set(**self.both("b.example", "c.example"))
        self.b.start()
        self.a = self.site.store("a.example", start=False)
        self.a.set(**self.both("a.example", "d.example"))
        self.a.set(route=self.b.route("rnasp").replace("b.", "c.", 1))
        self.a.set(route=[self.b.route("rnasp"), self.a.settings["route"]])
        self.a.start()

    def both(self, *domains):
        return {"domain": list(domains), "certificate": [self.files[d][0] for d in domains],
                "key": [self.files[d][1] for d in domains]}

    def shown(self, daemon, kind, name):
        """The certificate (DER) that DAEMON shows to who asks for NAME."""
        with daemon.client(kind, name=name) as client:
            return client.sock.getpeercert(binary_form=True)

    def of(self, domain):
        with open(self.files[domain][0], encoding="ascii") as file:
            return ssl.PEM_cert_to_DER_cert(file.read())

    def test_who_is_shown_what(self):
        for daemon, kinds, domains in ((self.a, ("msoap", "msrap"), ("a.example", "d.example")),
                                       (self.b, ("rnasp", "rnaqp"), ("b.example", "c.example"))):
            for kind in kinds:
                for domain in domains:
                    self.assertEqual(self.shown(daemon, kind, domain), self.of(domain))
                # Nobody's: the first, which such a client refuses.
                with self.assertRaisesRegex(ssl.SSLCertVerificationError, "x.example"):
                    self.shown(daemon, kind, "x.example")

    def test_senders_of_each(self):
        """Each sender's domain is proved to the agent by its own certificate."""
        self.b.mailbox("bob@b.example")
        self.b.mailbox("carol@c.example")
        self.a.account("alice", "alice@a.example", "dora@d.example")
        with self.a.originator("alice", name="d.example") as client:
            for sender in "alice@a.example", "dora@d.example":
                self.submit(client, sender)
        for login in "bob@b.example", "carol@c.example":
            with self.b.client("rnaqp", name=login.partition("@")[2]) as reader:
                reader.call("authenticate", account=login, password="secret").expect("ok")
                found = self.two_of(reader)
            self.assertEqual(
                {(n["notification"]["sender"], ".".join(n["verified"]),
                  ".".join(n["notification"]["storeTls"][1])) for n in found},
                {("alice@a.example", "a.example", "a.example"),
                 ("dora@d.example", "d.example", "d.example")})

    def submit(self, client, sender):
        text = (f"From: {sender}\r\nTo: bob@b.example\r\nSubject: x\r\n\r\n"
                "Hello.\r\n").encode()
        client.call("submitEnvelope", recipients=[
            {"localpart": "bob", "domain": ["b", "example"]},
            {"localpart": "carol", "domain": ["c", "example"]}],
            lifetime=0, sender={"localpart": sender.partition("@")[0],
                                "domain": sender.partition("@")[2].split(".")}).expect("ok")
        client.call("submitChunk", isLast=True, offset=0, data=text).expect("ok")

    def two_of(self, reader):
        found, after = [], 0
        end = time.monotonic() + harness.PATIENCE
        while len(found) < 2 and time.monotonic() < end:
            page = reader.call("retrieve", after=after, wait=5).expect("ok").data
            found += page["notifications"]
            after = page["next"]
        return found

    def test_reload_of_one(self):
        """A renewed certificate is shown after SIGHUP, the other is what it was."""
        fresh = self.site.authority.issue("d.example", usage="serverAuth")
        for old, new in zip(self.files["d.example"], fresh):
            shutil.copy(new, old)
        before = self.shown(self.a, "msoap", "d.example")
        self.assertNotEqual(before, self.of("d.example"))
        self.a.reload()
        harness.wait_for("the new one is shown",
                         lambda: self.shown(self.a, "msoap", "d.example") == self.of("d.example"))
        self.assertEqual(self.shown(self.a, "msoap", "a.example"), self.of("a.example"))
        # One that does not belong to its key: all stays as it is.
        shutil.copy(self.files["a.example"][1], self.files["d.example"][1])
        self.a.reload()
        harness.wait_for("the reload failed", lambda: "old configuration stays" in self.a.log())
        self.assertIn(os.path.basename(self.files["d.example"][1]), self.a.log())
        self.assertEqual(self.shown(self.a, "msoap", "d.example"), self.of("d.example"))
        # And another order, in which the first is another.
        shutil.copy(fresh[1], self.files["d.example"][1])
        self.a.set(**self.both("d.example", "a.example"))
        self.a.reload()
        harness.wait_for("the reload was done", lambda: "result=done" in self.a.log().rpartition(
            "old configuration stays")[2])
        for domain in "a.example", "d.example":
            self.assertEqual(self.shown(self.a, "msoap", domain), self.of(domain))

    def test_what_check_says(self):
        for daemon, domains in ((self.a, ["a.example", "d.example"]),
                                (self.b, ["b.example", "c.example"])):
            good = self.both(*domains)
            daemon.admin("run", "--check")
            daemon.set(domain=domains + ["e.example"])
            done = daemon.admin("run", "--check", status=1)
            self.assertRegex(done.stderr, "domain e.example is covered by none of the 2")
            daemon.set(**{**good, "key": good["key"][:1]})
            done = daemon.admin("run", "--check", status=1)
            self.assertRegex(done.stderr, r":\d+: certificate: has no key: there must be one for")
            daemon.set(**{**good, "certificate": good["certificate"][:1]})
            done = daemon.admin("run", "--check", status=1)
            self.assertRegex(done.stderr, r":\d+: key: has no certificate: ")
            daemon.set(**{**good, "key": good["key"][::-1]})
            done = daemon.admin("run", "--check", status=1)
            self.assertRegex(done.stderr, r":\d+: key .* does not belong to certificate ")
            self.files["e.example"] = self.site.authority.issue(
                "e.example", usage="serverAuth", start=-9, end=-2)
            daemon.set(**self.both(*domains, "e.example"))
            done = daemon.admin("run", "--check", status=1)
            self.assertRegex(done.stderr, r"certificate .*e\.example\.pem has expired")
            daemon.set(**good)
            daemon.admin("run", "--check")


if __name__ == "__main__":
    harness.main()

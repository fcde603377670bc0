"""im2000 read, structure: parts and how they come out, attachments as files, and stores that
lie about what they announced."""

import base64
import json
import os
import pty
import select
import subprocess

import harness
import pulls
import wire
from people import Case

PICTURE = bytes(range(256)) * 300

PARTS = b"""From: =?utf-8?q?Al=C3=AFce?= <alice@a.example>
To: bob@b.example
Cc: carol@c.example
Subject: parts
Date: Sun, 22 Nov 2026 17:26:16 +0000
Message-ID: <1@a.example>
X-Other: something
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=out

preamble
--out
Content-Type: multipart/alternative; boundary=in

--in
Content-Type: text/html; charset=utf-8

<p>Gr\xc3\xbc\xc3\x9fe</p>
--in
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe, a long line that is soft=
ly broken
a bell: =07
--in--
--out
Content-Type: image/png; name="../../evil.png"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="../../evil.png"

%s
--out
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''%%2Fetc%%2Fnotes%%20%%C3%%BC.txt

aGFsbG8=
--out
Content-Type: message/rfc822

Subject: inside
Content-Type: multipart/mixed; boundary=deep

--deep
Content-Type: application/pdf; name=deep.pdf

x
--deep--
--out
Content-Type: image/gif

GIF
--out--
""" % base64.encodebytes(PICTURE).strip()
PARTS = PARTS.replace(b"\n", b"\r\n")


class Parts(Case):
    def setUp(self):
        super().setUp()
        self.two()
        sent = self.alice.run("send", "--to", "bob@b.example", "--json", stdin=PARTS, text=False)
        self.url = json.loads(sent.stdout.splitlines()[0])["url"]
        self.settled(self.url)
        self.bob.json("list")

    def octets(self, *arguments, **options):
        return self.bob.run("read", "1", *arguments, text=False, **options).stdout

    def test_structure(self):
        found = {p["section"]: p for p in self.bob.json("structure", "1")}
        self.assertEqual(found["1.2"]["type"], "text/plain")
        self.assertEqual(found["1.2"]["charset"].lower(), "iso-8859-1")
        self.assertEqual(found["1.2"]["encoding"], "quoted-printable")
        self.assertEqual(found["2"]["name"], "../../evil.png")
        self.assertEqual(found["2"]["disposition"], "attachment")
        self.assertEqual(found["3"]["name"], "/etc/notes ü.txt")
        self.assertEqual(found["4"]["type"], "message/rfc822")
        self.assertIn("4.1", found)
        self.assertEqual(self.bob.json("list")[0]["flags"], "NA")

    def test_view(self):
        text = self.bob.run("read", "1").stdout
        self.assertTrue(text.startswith(
            "From: Alïce <alice@a.example>\nTo: bob@b.example\nCc: carol@c.example\n"
            "Subject: parts\nDate: Sun, 22 Nov 2026 17:26:16 +0000\n\n"
            "Grüße, a long line that is softly broken\na bell: \u2407\n"), text)
        self.assertIn("[part 1.1: text/html", text)
        self.assertIn("[part 2: image/png, ", text)
        self.assertNotIn("[part 1.2", text)

    def test_terminal_charset(self):
        latin = self.octets(environment={"LC_ALL": "C"})
        self.assertIn("Grüße".encode(), latin, "no terminal, no locale: UTF-8")
        status, out = self.terminal("read", "1", locale="C")
        self.assertEqual(status, 0)
        self.assertIn(b"Gr??e", out)

    def test_one_part(self):
        self.assertEqual(self.octets("--part", "2"), PICTURE)
        self.assertEqual(self.octets("--part", "3"), b"hallo")
        self.assertEqual(self.octets("--part", "1.2"),
                         "Grüße, a long line that is softly broken\na bell: \x07".encode(),
                         "text to be read: in the charset of the locale, no terminal or one")
        self.assertEqual(self.octets("--part", "1.2.MIME"),
                         b"Content-Type: text/plain; charset=iso-8859-1\r\n"
                         b"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
        header, body = PARTS.split(b"\r\n\r\n", 1)
        self.assertEqual(self.octets("--part", "HEADER"), header + b"\r\n\r\n")
        self.assertEqual(self.octets("--part", "TEXT"), body)
        self.assertTrue(self.octets("--part", "4").startswith(b"Subject: inside\r\n"))
        self.assertEqual(self.octets("--part", "4.HEADER").count(b"\r\n"), 3)
        for section in ("9", "1.3", "0", "1.", "HEADERS", "..", "9" * 500):
            for _ in range(2):      # from the store, then from the cache
                with self.subTest(section):
                    done = self.bob.run("read", "1", "--part", section, status=1)
                    self.assertEqual(done.stdout, "")
                    self.only(done)
            self.octets("--raw")

    def test_cached_parts_are_the_same(self):
        sections = ("1", "1.1", "1.2", "2", "3", "4", "4.1", "5", "TEXT", "HEADER", "1.2.MIME",
                    "4.TEXT")
        stored = {s: self.octets("--part", s) for s in sections}
        view, structure = self.octets(), self.bob.run("structure", "1").stdout
        headers = self.octets("--headers")
        self.assertEqual(self.octets("--raw"), PARTS)
        self.a.stop()
        self.assertEqual({s: self.octets("--part", s) for s in sections}, stored)
        self.assertEqual(self.octets(), view)
        self.assertEqual(self.octets("--headers"), headers)
        self.assertEqual(self.bob.run("structure", "1").stdout, structure)

    def test_headers(self):
        text = self.bob.run("read", "1", "--headers").stdout
        self.assertEqual(text, PARTS.split(b"\r\n\r\n", 1)[0].decode().replace("\r\n", "\n") +
                         "\n\n")

    def test_save(self):
        folder = os.path.join(self.bob.folder, "saved")
        out = self.bob.run("read", "1", "--save", folder).stdout
        wanted = {"evil.png": PICTURE, "notes ü.txt": b"hallo", "part-5": b"GIF"}
        found = os.listdir(folder)
        self.assertLessEqual(set(wanted), set(found), out)
        self.assertEqual(len(found), 4, "the attached message is saved whole, its parts are not")
        for name, octets in wanted.items():
            with open(os.path.join(folder, name), "rb") as file:
                self.assertEqual(file.read(), octets)
            self.assertIn(f"{folder}/{name} (", out)

    def test_save_again(self):
        """Nothing is replaced, no link is followed."""
        folder = os.path.join(self.bob.folder, "saved")
        os.mkdir(folder)
        victim = os.path.join(self.bob.folder, "victim")
        os.symlink(victim, os.path.join(folder, "evil.png"))
        harness.write(os.path.join(folder, "notes ü.txt"), "mine")
        for _ in range(2):
            self.bob.run("read", "1", "--save", folder)
        self.assertFalse(os.path.exists(victim))
        self.assertLessEqual({"evil-2.png", "evil-3.png", "notes ü-2.txt", "notes ü-3.txt",
                              "part-5", "part-5-2"}, set(os.listdir(folder)))
        with open(os.path.join(folder, "notes ü.txt"), "rb") as file:
            self.assertEqual(file.read(), b"mine")
        self.only(self.bob.run("read", "1", "--save", self.bob.conf, status=1), "open folder")
        self.only(self.bob.run("read", "1", "--save", folder + "/a/b", status=1), "open folder")

    def terminal(self, *arguments, locale="C.UTF-8"):
        """Runs im2000 with a terminal as its standard output: exit status, what it printed."""
        self.bob.write_conf()
        master, slave = pty.openpty()
        try:
            with subprocess.Popen(
                    [os.path.join(harness.BIN, "im2000"), "-c", self.bob.conf, *arguments],
                    stdout=slave, stderr=subprocess.DEVNULL,
                    env=self.site.environment({"LC_ALL": locale})) as process:
                os.close(slave)
                slave = None
                out = b""
                while select.select([master], [], [], harness.PATIENCE)[0]:
                    try:
                        piece = os.read(master, 65536)
                    except OSError:
                        break
                    if not piece:
                        break
                    out += piece
                return process.wait(harness.PATIENCE), out
        finally:
            os.close(master)
            if slave is not None:
                os.close(slave)

    def test_terminal(self):
        status, out = self.terminal("read", "1", "--part", "1.2")
        self.assertEqual((status, out.replace(b"\r\n", b"\n").decode()),
                         (0, "Grüße, a long line that is softly broken\na bell: \u2407"))
        status, out = self.terminal("read", "1", "--part", "2")
        self.assertEqual((status, out), (1, b""), "no picture for a terminal")


class Store(pulls.Played):
    """Stores that are not honest about whole messages, or broken."""

    MESSAGE = (b"From: alice@a.example\r\nSubject: Hello\r\n\r\n" + b"0123456789\r\n" * 20000)

    def play(self, serve=None):
        super().play(serve)
        body = len(self.MESSAGE) - self.MESSAGE.index(b"\r\n\r\n") - 4
        self.announce({"message": self.MESSAGE,
                       "structure": '("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" '
                                    f"{body} 20000 NIL NIL NIL NIL)"})

    def giving(self, data, **more):
        """A store that answers a retrieve with DATA."""
        def serve(peer):
            self.take(peer)
            self.give(peer, data, **more)
            self.silence(peer)
        return serve

    def test_only_what_is_needed(self):
        """It says that the notification arrived, once, in the flight of the first request."""
        self.play()
        text = self.MESSAGE.split(b"\r\n\r\n", 1)[1].decode().replace("\r\n", "\n")
        self.assertTrue(self.bob.run("read", "1").stdout.endswith("\n\n" + text))
        self.assertEqual([name for name, _ in self.asked][:2], ["retrieve", "silence"])
        self.assertEqual(self.server.connections, 1)
        self.bob.run("read", "1")
        self.assertEqual([name for name, _ in self.asked].count("silence"), 1)
        self.assertEqual(self.server.errors, [])

    def test_whole(self):
        self.play(self.giving(self.MESSAGE))
        self.assertEqual(self.bob.run("read", "1", "--raw", text=False).stdout, self.MESSAGE)
        self.assertEqual(self.cache(), ["1.eml"])

    def test_lies(self):
        """Nothing of it is shown, nothing is kept."""
        message = self.MESSAGE
        cases = {
            "first octet": self.giving(b"f" + message[1:]),
            "last octet": self.giving(message[:-1] + b"\r"),
            "one in the middle": self.giving(message[:100000] + b"x" + message[100001:]),
            "longer": self.giving(message + b"x"),
            "shorter": self.giving(message[:-1]),
            "nothing": self.giving(b""),
            "a range": self.giving(message[10:], offset=10),
            "a part of it": self.giving(message[:-1], size=len(message)),
        }
        self.play(None)
        for what, serve in cases.items():
            with self.subTest(what):
                self.server.serve = serve
                for arguments in (["--raw"], ["--save", self.bob.folder]):
                    done = self.bob.run("read", "1", *arguments, status=1)
                    self.assertEqual(done.stdout, "")
                    self.only(done, "announced|match|other octets")
                    self.assertEqual(self.cache(), [])
        self.assertEqual(self.bob.json("list")[0]["flags"], "N")

    def test_refusals(self):
        self.play(None)
        for status, code, pattern in (("noSuchMessage", 1, "no such message"),
                                      ("withdrawn", 1, "withdrawn"),
                                      ("tryLater", 75, "later"),
                                      ("internalProblem", 75, "problem"),
                                      ("serviceShutdown", 75, "shutting down"),
                                      ("malformedPdu", 1, "malformedPdu"),
                                      ("unsupported", 1, "does not support")):
            with self.subTest(status):
                def serve(peer, status=status):
                    self.take(peer)
                    peer.send_raw(wire.frame(wire.response("msrap", status=status,
                                                           text="so\x1b[2J\nthere")))
                    self.silence(peer)
                self.server.serve = serve
                done = self.bob.run("read", "1", status=code)
                self.only(done, pattern)
                self.assertNotIn("\x1b", done.stderr)

    def test_nonsense(self):
        self.play(None)
        for octets, code in ((wire.frame(b"\xa2\x00"), 1), (bytes(4), 1), (b"\xff" * 5000, 1),
                             (b"", 75), (b"\x00\x00", 75)):
            with self.subTest(octets[:8]):
                def serve(peer, octets=octets):
                    self.take(peer)
                    peer.send_raw(octets)
                self.server.serve = serve
                self.only(self.bob.run("read", "1", "--raw", status=code), "a.example|read message")

    def test_cut_off(self):
        """A pull that is cut off goes on where it was."""
        message = self.MESSAGE

        def serve(peer):
            _, fields = self.take(peer)
            begin = fields["offset"]
            octets = wire.frame(wire.response("msrap", "retrieve", {
                "size": len(message), "offset": begin, "data": message[begin:]}))
            peer.send_raw(octets if begin > 0 else octets[:150000])
            if begin > 0:
                self.silence(peer)
        self.play(serve)
        self.assertEqual(self.bob.run("read", "1", "--raw", text=False).stdout, message)
        begins = [fields["offset"] for name, fields in self.asked if name == "retrieve"]
        self.assertEqual(len(begins), 2)
        self.assertGreater(begins[1], 100000)

    def test_certificate_of_another(self):
        self.play(self.giving(self.MESSAGE))
        self.server.close()
        other = self.site.server("msrap", "c.example", self.giving(self.MESSAGE))
        self.bob.set(route=self.site.routes() +
                     [f"a.example msrap {harness.endpoint(other.address)}"])
        self.only(self.bob.run("read", "1", "--raw", status=1), "a.example")

    def test_store_by_address(self):
        """An address that a notification names is never connected to. (im2000-notify takes no
        such notification; other agents may.)"""
        self.play(self.giving(self.MESSAGE))
        here = {"address": ("v4", b"\x7f\x00\x00\x01"), "port": self.server.address[1]}
        value = wire.notification("a.example", "bob@b.example", b"y" * 16, "alice@a.example",
                                  storeTls=("literals", [here]))
        received = {"notification": value, "submitter": here, "received": 1, "cursor": 9}

        def agent(peer):
            for answer in (("authenticate", {}),
                           ("retrieve", {"notifications": [received], "next": 9}),
                           ("retrieve", {"notifications": [], "next": 9})):
                peer.read_frame()
                peer.send_raw(wire.frame(wire.response("rnaqp", *answer)))
            peer.closed()
        played = self.site.server("rnaqp", "b.example", agent)
        self.bob.set(route=[f"b.example rnaqp {harness.endpoint(played.address)}",
                            f"a.example msrap {harness.endpoint(self.server.address)}"],
                     data=os.path.join(self.bob.folder, "other"))
        item, = self.bob.json("list")
        self.assertEqual((item["store"], item["verified"]), ("", False))
        self.only(self.bob.run("read", "1", status=1), "no store by domain")
        self.assertEqual(self.server.connections, 0)
        self.assertEqual(played.errors, [])


if __name__ == "__main__":
    harness.main()

"""im2000 send: the form in which a message is submitted, who gets it, and that a submission that
is cut off anywhere is finished exactly once."""

import os
import re
import select
import subprocess

import harness
import wire
from people import Case, capability

HEAD = "From: alice@a.example\r\nTo: bob@b.example\r\n"
WHOLE = HEAD + "Date: Sun, 22 Nov 2026 17:26:16 +0000\r\nMessage-ID: <1@a.example>\r\n"


class Form(Case):
    def setUp(self):
        super().setUp()
        self.a = self.site.store("a.example")
        self.a.account("alice", "alice@a.example", "@a.example")
        self.alice = self.site.person("alice", store=self.a)

    def stored(self, text, *arguments):
        """TEXT as the store holds it once it was sent."""
        text = text.encode("utf-8") if isinstance(text, str) else text
        done = self.alice.run("send", *arguments, stdin=text, text=False)
        with self.a.client("msrap") as client:
            data = client.call("retrieve", id=capability(done.stdout.decode().split()[0]),
                               type="all", offset=0, length=0).expect("ok").data["data"]
        return data

    def test_unchanged(self):
        """In network form, with all that it needs: octet for octet."""
        for body in (b"", b"x", b"yes\r\n", b"\xff\x00\x01\r\n", b"bare\nLF\rand CR\r\n",
                     b"\r\n\r\n", b"From here\r\n.\r\n", b"long" * 50000):
            message = WHOLE.encode() + b"\r\n" + body
            with self.subTest(body[:20]):
                self.assertEqual(self.stored(message), message)

    def test_line_ends(self):
        unix = WHOLE.replace("\r\n", "\n")
        for body, wanted in (("", ""), ("x", "x"), ("a\nb\n", "a\r\nb\r\n"),
                             ("a\r\nb\n", "a\r\nb\r\n"), ("\n\n", "\r\n\r\n"), ("a\rb", "a\rb"),
                             ("\r", "\r"), ("x" * 65535 + "\r\n" + "y" * 65535 + "\n",
                                            "x" * 65535 + "\r\n" + "y" * 65535 + "\r\n")):
            with self.subTest(body[:20]):
                self.assertEqual(self.stored(unix + "\n" + body).decode(),
                                 WHOLE + "\r\n" + wanted)

    def test_line_ends_where_chunks_meet(self):
        unix = WHOLE.replace("\r\n", "\n") + "\n"
        for before in range(65536 - len(unix) - 3, 65536 - len(unix) + 2):
            body = "x" * before + "\r\n\n\r\nz\n"
            self.assertEqual(self.stored(unix + body).decode(), WHOLE + "\r\n" +
                             "x" * before + "\r\n\r\n\r\nz\r\n", before)

    def test_header_alone(self):
        for text in (WHOLE, WHOLE[:-2], WHOLE[:-1], WHOLE + "\r\n"):
            self.assertEqual(self.stored(text).decode().replace("\r\r\n", "\r\n"),
                             WHOLE + "\r\n", repr(text[-4:]))

    def test_blind_copies(self):
        for line in ("Bcc: carol@c.example\r\n", "bcc : carol@c.example\r\n",
                     "BCC:\r\n carol@c.example,\r\n\tdave@d.example\r\n", "Bcc:\r\n",
                     "Bcc: carol@c.example\r\nBcc: dave@d.example\r\n"):
            with self.subTest(line):
                self.assertEqual(self.stored(line + WHOLE + line + "\r\nx\r\n").decode(),
                                 WHOLE + "\r\nx\r\n")

    def test_mbox_line(self):
        self.assertEqual(self.stored("From alice Sun Nov 22 17:26:16 2026\r\n" + WHOLE +
                                     "\r\nx\r\n").decode(), WHOLE + "\r\nx\r\n")

    def test_missing_fields(self):
        date = r"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
        number = r"Message-ID: <[0-9a-v]{32}@a\.example>"
        for head, added in ((HEAD, f"{date}\r\n{number}\r\n"),
                            (HEAD + "date: now\r\n", f"{number}\r\n"),
                            (HEAD + "message-id: <x@y>\r\n", f"{date}\r\n")):
            with self.subTest(head):
                self.assertRegex(self.stored(head + "\r\nx\r\n").decode(),
                                 "^" + re.escape(head) + added + "\r\nx\r\n$")

    def test_files(self):
        path = os.path.join(self.site.folder, "message.eml")
        harness.write(path, WHOLE + "\r\nx\r\n")
        self.alice.run("send", path)
        self.alice.run("send", "--", path)
        self.alice.run("send", "-", stdin=WHOLE + "\r\nx\r\n")
        self.only(self.alice.run("send", path + "x", status=1), "No such file")
        self.only(self.alice.run("send", self.site.folder, status=1), "irectory")

    def test_large(self):
        """Larger than every buffer on the way."""
        message = WHOLE.encode() + b"\r\n" + os.urandom(1 << 20) * 20
        self.assertEqual(len(self.stored(message)), len(message))

    def recipients(self, head, *arguments):
        done = self.alice.json("send", *arguments, stdin="From: alice@a.example\r\n" + head +
                               "\r\nx\r\n")
        return [r["recipient"] for r in done[1:]]

    def test_recipients(self):
        cases = [
            ("To: bob@b.example\r\n", ["bob@b.example"]),
            ("To: bob@b.example, Carol <carol@C.Example>\r\nCc: bob@b.example\r\n",
             ["bob@b.example", "carol@c.example"]),
            ("To: undisclosed-recipients:;\r\nBcc: bob@b.example\r\n", ["bob@b.example"]),
            ("To: Friends: bob@b.example, carol@c.example;, dave@d.example\r\n",
             ["bob@b.example", "carol@c.example", "dave@d.example"]),
            ('To: "Bob, the builder" <bob@b.example> (hi)\r\nTo: carol@c.example\r\n',
             ["bob@b.example", "carol@c.example"]),
            ("Cc:\r\n bob@b.example,\r\n carol@c.example\r\n",
             ["bob@b.example", "carol@c.example"]),
        ]
        for head, wanted in cases:
            with self.subTest(head):
                self.assertEqual(self.recipients(head), wanted)
        self.assertEqual(self.recipients("To: not an address\r\n", "--to", "bob@b.example",
                                         "--to", "carol@c.example", "--to", "bob@b.example"),
                         ["bob@b.example", "carol@c.example"])

    def test_refused_here(self):
        before = self.alice.json("status")
        cases = [
            ("Subject: x\r\nTo: bob@b.example\r\n\r\nx", "no From"),
            ("", "no From"),
            ("\r\n" + WHOLE, "no From"),
            ("From: nobody\r\nTo: bob@b.example\r\n\r\nx", 'From .*"nobody" is no mailbox'),
            ("From: \r\nTo: bob@b.example\r\n\r\nx", "From .* is no mailbox"),
            ("From: alice@a.example\r\n\r\nx", "names no recipient"),
            ("From: alice@a.example\r\nTo: x:;\r\n\r\nx", "names no recipient"),
            ("From: alice@a.example\r\nTo: bob@b.example, carol\r\n\r\nx",
             'To .*"carol" is no mailbox; nothing was sent'),
            ("From: alice@a.example\r\nTo: bob@b.example\r\nBcc: <carol@>\r\n\r\nx",
             "Bcc .*is no mailbox"),
            ("From: alice@a.example\r\nCc: bob@[127.0.0.1]\r\n\r\nx", "Cc .*is no mailbox"),
            (WHOLE + "X: " + "x" * (1 << 20) + "\r\n\r\nx", "longer than 1 MiB"),
            ("x" * (3 << 20), "longer than 1 MiB"),
        ]
        for text, pattern in cases:
            with self.subTest(pattern):
                self.only(self.alice.run("send", stdin=text, status=1), pattern)
        self.assertEqual(self.alice.json("status"), before)

    def test_refused_by_the_store(self):
        self.only(self.alice.run("send", stdin=WHOLE.replace("alice@a", "alice@b"), status=1),
                  "may not send as")
        self.a.set(max_message="10K")
        self.a.restart()
        self.only(self.alice.run("send", stdin=WHOLE + "\r\n" + "x" * 20000, status=1), "too big")
        self.only(self.alice.run("send", stdin=WHOLE + "\r\n" + "x" * 15000, status=1), "too big")
        self.alice.run("send", stdin=WHOLE + "\r\n" + "x" * 5000)


class Played(Case):
    """A store that does what the test wants."""

    def play(self, *sessions):
        """One function for each connection, in order. self.seen: what the envelopes said."""
        waiting = list(sessions)
        self.seen = []
        server = self.site.server("msoap", "a.example", lambda peer: waiting.pop(0)(peer))
        self.server = server
        route = f"a.example msoap {harness.endpoint(server.address)}"
        if not hasattr(self, "alice"):
            store = self.site.store("a.example", start=False)
            self.alice = self.site.person("alice", store=store)
        self.alice.set(route=route)

    def tearDown(self):
        self.assertEqual(self.server.errors, [])
        super().tearDown()

    def take(self, peer, name):
        """The next command, which is NAME: its fields."""
        side, value = wire.MODULES.decode("IM2000-MSOAP", "Pdu", peer.read_frame())
        self.assertEqual((side, value["data"][0]), ("command", name))
        if name == "submitEnvelope":
            self.seen.append(value["data"][1])
        return value["data"][1]

    def say(self, peer, name="none", fields=None, **more):
        peer.send_raw(wire.frame(wire.response("msoap", name, fields, **more)))

    def say_envelope(self, peer, received=0, complete=False, statuses=("acceptable",)):
        self.say(peer, "submitEnvelope",
                 {"id": b"i" * 16, "recipients": list(statuses), "lists": [],
                  "received": received, "expires": 2000000000000000, "complete": complete})

    def say_received(self, peer):
        self.say(peer, "submitChunk", {"received": self.seen[-1]["size"]})

    def well(self, peer):
        """All in one flight, as a small message comes."""
        self.take(peer, "authenticate")
        self.take(peer, "submitEnvelope")
        chunk = self.take(peer, "submitChunk")
        self.assertEqual(len(chunk["data"]), self.seen[-1]["size"])
        self.say(peer, "authenticate")
        self.say_envelope(peer)
        self.say_received(peer)

    def test_one_flight(self):
        """A small message comes whole before the first answer."""
        self.play(self.well)
        sent = self.alice.json("send", stdin=WHOLE + "\r\nx\r\n")
        self.assertEqual(capability(sent[0]["url"]), b"i" * 16)
        envelope = self.seen[0]
        self.assertEqual(wire.mailbox_text(envelope["sender"]), "alice@a.example")
        self.assertEqual(envelope["size"], len(WHOLE) + 5)
        self.assertEqual(envelope["lifetime"], 0)
        self.assertNotIn("hold", envelope)
        self.assertNotIn("releaseAt", envelope)

    def two_flights(self, peer):
        self.take(peer, "authenticate")
        self.take(peer, "submitEnvelope")
        readable, _, _ = select.select([peer.sock], [], [], 0.3)
        self.assertEqual(readable, [], "no data before the envelope is answered")
        self.say(peer, "authenticate")
        self.say_envelope(peer)
        self.assertEqual(len(self.take(peer, "submitChunk")["data"]), self.seen[-1]["size"])
        self.say_received(peer)

    def test_two_flights(self):
        self.play(self.two_flights)
        self.alice.run("send", stdin=WHOLE + "\r\n" + "x" * 20000)

    def test_options(self):
        self.play(self.well, self.well)
        self.alice.run("send", "--draft", "--lifetime", "2d", stdin=WHOLE)
        self.alice.run("send", "--at", "2030-01-01T00:00:00Z", stdin=WHOLE)
        self.assertEqual((self.seen[0]["hold"], self.seen[0]["lifetime"]), (True, 2 * 86400))
        self.assertEqual(self.seen[1]["releaseAt"], 1893456000 * 10**6)

    def test_unsupported(self):
        def refuse(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.take(peer, "submitChunk")
            self.say(peer, "authenticate")
            self.say(peer, status="unsupported", abort=True)
            self.say(peer, status="unexpectedCommand", abort=True)
        self.play(refuse)
        self.only(self.alice.run("send", "--draft", stdin=WHOLE, status=1), "does not support")

    def test_some_are_refused(self):
        def some(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.take(peer, "submitChunk")
            self.say(peer, "authenticate")
            self.say_envelope(peer, statuses=("acceptable", "badAddress", "tooMany"))
            self.say_received(peer)
        self.play(some)
        done = self.alice.run("send", "--to", "bob@b.example", "--to", "carol@c.example", "--to",
                              "dave@d.example", stdin=WHOLE, status=1)
        self.assertEqual(done.stderr, "")
        lines = done.stdout.splitlines()[1:]
        self.assertEqual(lines[0], "bob@b.example: accepted")
        self.assertRegex(lines[1], "^carol@c.example: refused: .*address")
        self.assertRegex(lines[2], "^dave@d.example: refused: .*many")
        self.assertEqual(self.alice.json("status")[0]["recipients"], ["bob@b.example"])

    def test_cut_off(self):
        """The same submission goes on where it was, within one command."""
        def cut(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.say(peer, "authenticate")
            self.say_envelope(peer)
            peer.read_exactly(10000)

        def resume(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.say(peer, "authenticate")
            self.say_envelope(peer, received=7000)
            chunk = self.take(peer, "submitChunk")
            self.assertEqual(chunk["offset"], 7000)
            self.assertEqual(7000 + len(chunk["data"]), self.seen[-1]["size"])
            self.say_received(peer)
        self.play(cut, resume)
        self.alice.run("send", stdin=WHOLE + "\r\n" + "x" * 100000)
        self.assertEqual(self.seen[0], self.seen[1])
        self.assertEqual(len(self.alice.json("status")), 1)

    def test_answer_lost(self):
        """The message was stored, the answer never came."""
        def lose(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.take(peer, "submitChunk")

        def complete(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.say(peer, "authenticate")
            self.say_envelope(peer, received=self.seen[-1]["size"], complete=True)
        self.play(lose, complete)
        self.alice.run("send", stdin=HEAD)
        self.assertEqual(self.seen[0], self.seen[1])

    def hang(self, peer):
        self.take(peer, "authenticate")
        self.take(peer, "submitEnvelope")
        self.take(peer, "submitChunk")
        peer.closed()

    def test_killed(self):
        """The program was killed: saying the same again finishes the same submission; saying it
        once more after that is another one."""
        def later(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.say(peer, "authenticate")
            self.say_envelope(peer)
            self.take(peer, "submitChunk")
            self.say_received(peer)
        self.play(self.hang, later, self.well, self.well)
        self.alice.write_conf()
        with subprocess.Popen([os.path.join(harness.BIN, "im2000"), "-c", self.alice.conf,
                               "send"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              env=self.site.environment()) as process:
            process.stdin.write((HEAD + "\r\nx\r\n").encode())
            process.stdin.close()
            harness.wait_for("the store has the envelope", lambda: self.seen)
            process.kill()
        self.alice.run("send", stdin=HEAD + "\r\nx\r\n")
        self.assertEqual(self.seen[0], self.seen[1], "Message-ID and Date are the same too")
        self.alice.run("send", stdin=HEAD + "\r\nx\r\n")
        self.assertNotEqual(self.seen[1]["submissionId"], self.seen[2]["submissionId"])
        self.alice.run("send", "--to", "carol@c.example", stdin=HEAD + "\r\nx\r\n")
        self.assertNotEqual(self.seen[2]["submissionId"], self.seen[3]["submissionId"])

    def test_never_answered(self):
        """Three tries, then 75; the next command goes on."""
        def cut(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
        self.play(cut, cut, cut, cut, cut, cut)
        done = self.alice.run("send", stdin=HEAD, status=75)
        self.only(done, "submit to a.example|log in")
        self.assertEqual(len(self.seen), 3)
        self.alice.run("send", stdin=HEAD, status=75)
        self.assertEqual(len({e["submissionId"] for e in self.seen}), 1)
        self.assertEqual(self.alice.json("status"), [])

    def test_nonsense(self):
        """What no store says."""
        def swap(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.take(peer, "submitChunk")
            self.say(peer, "authenticate")
            self.say_envelope(peer, statuses=("acceptable", "acceptable"))
            self.say_received(peer)

        def more(peer):
            self.take(peer, "authenticate")
            self.take(peer, "submitEnvelope")
            self.take(peer, "submitChunk")
            self.say(peer, "authenticate")
            self.say_envelope(peer)
            self.say(peer, "submitChunk", {"received": 1})

        def other(peer):
            self.take(peer, "authenticate")
            self.say(peer, "cancel")

        def garbage(peer):
            self.take(peer, "authenticate")
            peer.send_raw(wire.frame(b"\x00" * 20))

        def empty(peer):
            self.take(peer, "authenticate")
            peer.send_raw(bytes(4))

        def huge(peer):
            self.take(peer, "authenticate")
            peer.send_raw(b"\xff\xff\xff\xff")
        for play, pattern in ((swap, "does not belong"), (more, "other octets"),
                              (other, "another command"), (garbage, "breaks the protocol"),
                              (empty, "empty frame"), (huge, "octets")):
            with self.subTest(play.__name__):
                self.play(play)
                self.only(self.alice.run("send", stdin=WHOLE + "\r\n" + pattern, status=1),
                          pattern)


if __name__ == "__main__":
    harness.main()

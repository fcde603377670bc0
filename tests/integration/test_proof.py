"""im2000 reads with proof: a store that lies in any octet, hash, size or announcement is caught
before anything is shown or saved; and what an honest one is asked for."""
# builds: plain asan

import os

import harness
import pulls
import wire
from people import Case
from pulls import BLOCK

TEXT = b"Hello Bob, the picture.\r\n"
PICTURE = b"".join(b"%08d%s\r\n" % (i, b"A" * 60) for i in range(3300))     # 3.5 blocks
LAST = b"and the last word\r\n"


def compose(picture=PICTURE):
    return (b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: Hello\r\n"
            b"Content-Type: multipart/mixed; boundary=o\r\n\r\n"
            b"--o\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + TEXT + b"\r\n"
            b"--o\r\nContent-Type: image/png; name=p.png\r\n\r\n" + picture + b"\r\n"
            b"--o\r\nContent-Type: text/plain; name=last.txt\r\n\r\n" + LAST + b"\r\n--o--\r\n")


MESSAGE = compose()


def part(kind, size, name="", charset="", encoding="7BIT", lines=1):
    """One part of a BODYSTRUCTURE."""
    main, sub = kind.upper().split("/")
    params = " ".join(f'"{k}" "{v}"' for k, v in (("NAME", name), ("CHARSET", charset)) if v)
    return (f'("{main}" "{sub}" {"(" + params + ")" if params else "NIL"} NIL NIL "{encoding}" '
            f'{size}{f" {lines}" if main == "TEXT" else ""} NIL NIL NIL NIL)')


def mixed(*parts):
    return "(" + "".join(parts) + ' "MIXED" ("BOUNDARY" "o") NIL NIL NIL)'


FIRST = part("text/plain", len(TEXT), charset="utf-8")
SECOND = part("image/png", len(PICTURE), name="p.png")
THIRD = part("text/plain", len(LAST), name="last.txt")
STRUCTURE = mixed(FIRST, SECOND, THIRD)
HONEST = {"message": MESSAGE, "structure": STRUCTURE}

# What Bob says, and what comes out of an honest store.
READS = {
    "view": ([], None),
    "headers": (["--headers"], None),
    "first part": (["--part", "1"], TEXT.replace(b"\r\n", b"\n")),
    "large part": (["--part", "2"], PICTURE),
    "last part": (["--part", "3"], LAST),
    "its header": (["--part", "3.MIME"], b"Content-Type: text/plain; name=last.txt\r\n\r\n"),
}


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def octet(at):
    """Another octet at AT of what is sent: a fraction of it, or counted from either end."""
    def bend(_, answer):
        data = answer["data"]
        where = int(at * (len(data) - 1)) if isinstance(at, float) else at % len(data)
        return {**answer, "data": flip(data, where)}
    return bend


def other(**change):
    """Other elements: CHANGE[name] makes the new value of the old."""
    def bend(_, answer):
        return {**answer, **{name: make(answer[name]) for name, make in change.items()}}
    return bend


def swapped(_, answer):
    data = answer["data"]
    if len(data) < 2 * BLOCK:
        return octet(0)(_, answer)
    return {**answer, "data": data[BLOCK:2 * BLOCK] + data[:BLOCK] + data[2 * BLOCK:]}


def another_message(fields, _):
    return pulls.answered(MESSAGE.replace(b"Hello Bob", b"Hello Eve"), fields)


def another_place(fields, _):
    """Proven octets, of another range."""
    begin = fields["offset"] // BLOCK * BLOCK
    return pulls.answered(MESSAGE, {**fields, "offset": BLOCK if begin == 0 else 0})


def another_place_as_this(fields, answer):
    return {**another_place(fields, answer), "offset": answer["offset"]}


def only_what_was_asked(fields, answer):
    end = fields["offset"] + fields["length"]
    return {**answer, "data": MESSAGE[fields["offset"]:min(end, len(MESSAGE)) - 1]}


def no_proof(_, answer):
    return {k: v for k, v in answer.items() if k != "proof"}


def zero(hash_):
    return flip(hash_, 0)


LIES = {
    "first octet": octet(0),
    "last octet": octet(-1),
    "in the header": octet(3),
    "behind a border": octet(BLOCK),
    "before a border": octet(BLOCK - 1),
    "a third in": octet(0.33),
    "in the middle": octet(0.5),
    "late": octet(0.9),
    "swapped blocks": swapped,
    "an octet more": other(data=lambda d: d + b"x"),
    "an octet less": other(data=lambda d: d[:-1]),
    "a block less": other(data=lambda d: d[:-BLOCK]),
    "nothing": other(data=lambda d: b""),
    "zeros": other(data=lambda d: bytes(len(d))),
    "another message": another_message,
    "another place": another_place,
    "another place, said to be this": another_place_as_this,
    "not widened": only_what_was_asked,
    "no proof": no_proof,
    "an empty proof": other(proof=lambda p: []),
    "a hash more": other(proof=lambda p: p + [bytes(32)]),
    "a hash more in front": other(proof=lambda p: [bytes(32)] + p),
    "a hundred hashes": other(proof=lambda p: [bytes(32)] * 100),
    "the first hash": other(proof=lambda p: [zero(p[0])] + p[1:]),
    "the last hash": other(proof=lambda p: p[:-1] + [zero(p[-1])]),
    "a hash less": other(proof=lambda p: p[:-1]),
    "hashes in reverse": other(proof=lambda p: p[::-1] if len(p) > 1 else [bytes(32)]),
    "a larger size": other(size=lambda n: n + 1),
    "a smaller size": other(size=lambda n: n - 1),
    "no size": other(size=lambda n: 0),
    "a huge size": other(size=lambda n: 1 << 60),
    "another offset": other(offset=lambda n: n + BLOCK),
    "an offset inside": other(offset=lambda n: n + 1),
}


class Proof(pulls.Played):
    def read(self, *arguments, number=1, status=0):
        return self.bob.run("read", str(number), *arguments, text=False, status=status)

    def caught(self, *arguments, number=1, status=1, pattern=None):
        """Nothing was shown, one line was said, nothing was kept."""
        done = self.bob.run("read", str(number), *arguments, status=status)
        self.assertEqual(done.stdout, "")
        self.only(done, pattern or f"message {number}")
        self.assertEqual(self.cache(), [])

    def test_honest(self):
        """What comes out, and that no more was asked for than it takes; the last octet only when
        all is read."""
        self.play()
        self.announce(HONEST)
        for what, (arguments, wanted) in READS.items():
            with self.subTest(what):
                self.asked.clear()
                out = self.read(*arguments).stdout
                if wanted is not None:
                    self.assertEqual(out, wanted)
                asked = self.retrieved()
                self.assertTrue(all(f["type"] == "all" and f["proof"] for f in asked))
                ends = [f["offset"] + f["length"] for f in asked]
                self.assertTrue(all(0 < f["length"] for f in asked))
                self.assertLess(max(ends), len(MESSAGE))
                if what in ("view", "headers", "first part"):
                    self.assertEqual(ends, [BLOCK])
        self.assertEqual(self.cache(), [])
        view = self.read().stdout.decode()
        self.assertIn("Subject: Hello\n\nHello Bob, the picture.\n", view)
        self.assertRegex(view, r"\[part 2: image/png, 22\dK, p.png\]\n\[part 3: text/plain")
        self.asked.clear()
        self.assertEqual(self.read("--raw").stdout, MESSAGE)
        fields, = self.retrieved()
        self.assertEqual((fields["type"], fields["offset"], fields["length"]), ("all", 0, 0))
        self.assertEqual(self.server.errors, [])

    def test_no_such_part(self):
        self.play()
        self.announce(HONEST)
        for section in ("4", "1.1", "TEXTS", "3.1.MIME", "9.HEADER"):
            self.caught("--part", section, pattern="no part")
        self.assertEqual(self.retrieved(), [], "the notification says that there is none")
        self.caught("--part", "1.HEADER", pattern="no part")
        self.caught("--part", "HEADER.1", pattern="no part")

    def test_lies(self):
        """Every lie, in the first answer and in the last of a read."""
        self.play()
        self.announce(HONEST)
        folder = os.path.join(self.bob.folder, "saved")
        for what in ("view", "large part", "its header"):
            arguments, _ = READS[what]
            self.bend = None
            self.asked.clear()
            self.read(*arguments)
            for lie, bend in LIES.items():
                for begin in {self.retrieved()[0]["offset"], self.retrieved()[-1]["offset"]}:
                    with self.subTest(lie, read=what, begin=begin):
                        def lying(fields, answer, bend=bend, begin=begin):
                            return bend(fields, answer) if fields["offset"] == begin else answer
                        self.bend = lying
                        asked = list(self.asked)
                        self.caught(*arguments)
                        self.asked[:] = asked
        for lie in ("first octet", "last octet", "in the middle", "swapped blocks",
                    "an octet more", "a block less", "nothing", "another message",
                    "a larger size"):
            for arguments in (["--raw"], ["--save", folder]):
                with self.subTest(lie, read=arguments[0]):
                    self.bend = LIES[lie]
                    self.caught(*arguments)
        self.assertFalse(os.path.exists(folder), "not even a folder was made")

    def test_late_windows(self):
        """A part that takes several answers is shown when all of it was checked."""
        picture = os.urandom(9 * 1024 * 1024 // 2).hex().encode()     # 9 MiB in one line
        message = compose(picture)
        self.play()
        self.announce({"message": message,
                       "structure": mixed(FIRST, part("image/png", len(picture), name="p.png"),
                                          THIRD)})
        self.assertEqual(self.read("--part", "2").stdout, picture)
        offsets = [f["offset"] for f in self.retrieved()]
        self.assertGreater(len(offsets), 3)
        self.assertEqual(offsets, sorted(set(offsets)), "no octet is pulled twice")
        for begin in (offsets[2], offsets[-1]):
            def late(fields, answer, begin=begin):
                return octet(-1)(fields, answer) if fields["offset"] == begin else answer
            self.bend = late
            self.caught("--part", "2", pattern="does not match")

    def test_cut_off(self):
        """An answer that is cut off is asked for again; in the end, later."""
        self.play()
        self.announce(HONEST)
        cut = []

        def once(_, answer):
            whole = wire.frame(wire.response("msrap", "retrieve", answer))
            cut.append(len(cut))
            return whole[:BLOCK // 2] if len(cut) == 2 else answer
        self.bend = once
        self.assertEqual(self.read("--part", "2").stdout, PICTURE)
        self.assertGreater(len(cut), 2)
        self.bend = lambda _, answer: wire.frame(wire.response("msrap", "retrieve", answer))[:999]
        self.caught("--part", "2", status=75)

    def test_last_block_of_one_octet(self):
        """It comes, too; and messages of nothing."""
        head = b"Subject: Hello\r\n\r\n"
        message = head + b"x" * (3 * BLOCK - len(head)) + b"y"
        self.play()
        self.announce({"message": message}, {"message": b"\r\n"}, {"message": b""})
        self.assertEqual(self.read("--part", "1").stdout, message[len(head):])
        for number, out in ((2, b"\r\n"), (3, b"")):
            self.assertEqual(self.read("--raw", number=number).stdout, out)
            self.read(number=number)

    def test_announced_lies(self):
        """The notification says something else than the octets: they are not shown under its
        words."""
        text = part("text/plain", len(PICTURE), name="p.png")
        size = len(TEXT)
        # What it says, and which reads show it.
        lies = {
            "types": (mixed(part("text/html", size, charset="utf-8"), SECOND, THIRD), (1, 2)),
            "the picture is text": (mixed(FIRST, text, THIRD), (2, 3)),
            "charset": (mixed(part("text/plain", size, charset="utf-7"), SECOND, THIRD), (1,)),
            "encoding": (mixed(part("text/plain", size, charset="utf-8", encoding="BASE64"),
                               SECOND, THIRD), (1,)),
            "an octet more": (mixed(part("text/plain", size + 1, charset="utf-8"), SECOND, THIRD),
                              (1, 3)),
            "an octet less": (mixed(part("text/plain", size - 1, charset="utf-8"), SECOND, THIRD),
                              (1,)),
            "a name": (mixed(FIRST, part("image/png", len(PICTURE), name="q.png"), THIRD), (2,)),
            "a part less": (mixed(SECOND, THIRD), (1, 2)),
            "parts in another order": (mixed(SECOND, FIRST, THIRD), (1, 2)),
            "merged parts": (mixed(FIRST, part("image/png", len(PICTURE) + len(LAST) + 99,
                                               name="p.png")), (2,)),
            "a part more": (mixed(FIRST, SECOND, THIRD, THIRD), (4,)),
            "nested": (mixed(mixed(FIRST), SECOND, THIRD), ("1.1", 2)),
            "one text": (part("text/plain", len(MESSAGE)), (1,)),
        }
        headers = {
            "subject": b"From: alice@a.example\r\nSubject: Urgent\r\n\r\n",
            "a field more": b"From: alice@a.example\r\nSubject: Hello\r\nTo: eve@b.example\r\n\r\n",
            "order": b"Subject: Hello\r\nFrom: alice@a.example\r\n\r\n",
            "octets": b"From: alice@a.example\r\nSubject:  Hello\r\n\r\n",
        }
        self.play()
        self.announce(*[{"message": MESSAGE, "structure": s} for s, _ in lies.values()],
                      *[{**HONEST, "header": h} for h in headers.values()])
        for number, (lie, (_, sections)) in enumerate(lies.items(), 1):
            with self.subTest(lie):
                for section in sections:
                    self.caught("--part", str(section), number=number, pattern="of its parts than")
                if 1 in sections:
                    self.caught(number=number, pattern="of its parts than")
        for number, lie in enumerate(headers, len(lies) + 1):
            with self.subTest(lie):
                for arguments in ([], ["--headers"], ["--part", "1"], ["--part", "HEADER"]):
                    self.caught(*arguments, number=number, pattern="of its header than")
        for number in (1, len(lies) + 1):
            folder = os.path.join(self.bob.folder, f"saved{number}")
            self.assertEqual(self.read("--raw", number=number).stdout, MESSAGE)
            done = self.bob.run("read", str(number), "--save", folder, status=1)
            self.only(done, "is not what was announced")
            self.assertFalse(os.path.exists(folder))

    def test_too_deep(self):
        """What no list of parts can be made of still has a header, and is read whole."""
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (i, i)
                        for i in range(1000, 1040))
        message = b"Subject: Hello\r\n" + deep + b"\r\nat last\r\n"
        self.play()
        self.announce({"message": message}, {"message": message, "structure": "(" * 40},
                      {"message": message, "structure": "nothing"})
        for number in (1, 2, 3):
            self.assertTrue(self.read("--headers", number=number).stdout.startswith(b"Subject: H"))
            self.assertEqual(self.read("--raw", number=number).stdout, message)
            self.only(self.bob.run("read", str(number), status=1), "too deep or too long")
            self.only(self.bob.run("structure", str(number), status=1), "too deep or too long")

    def test_nothing_announced(self):
        """No structure in the notification: the parts are found in the octets. No size or no
        digest: there is nothing to check a range against, and all is pulled."""
        self.play()
        self.announce({"message": MESSAGE},
                      {"message": MESSAGE, "digest": None},
                      {"message": MESSAGE, "size": None})
        view = self.read().stdout.decode()
        self.assertIn("\n\nHello Bob, the picture.\n", view)
        self.assertIn("[more parts: im2000 structure 1]\n", view)
        self.assertEqual([f["offset"] for f in self.retrieved()], [0])
        found = self.bob.json("structure", "1")
        self.assertEqual([(p["section"], p["type"], p["size"]) for p in found],
                         [("TEXT", "multipart/mixed", 0), ("1", "text/plain", len(TEXT)),
                          ("2", "image/png", len(PICTURE)), ("3", "text/plain", len(LAST))])
        self.assertEqual(self.read("--part", "3").stdout, LAST)
        self.caught("--part", "4", pattern="no part")
        self.bend = LIES["in the middle"]
        self.caught("--part", "2")
        self.only(self.bob.run("structure", "1", status=1), "does not match")
        self.bend = None
        done = self.bob.run("read", "2", "--part", "1")
        self.assertEqual(done.stdout.encode(), TEXT.replace(b"\r\n", b"\n"))
        self.only(done, "announced without a digest")
        self.assertEqual(self.read("--part", "1", number=3).stdout,
                         TEXT.replace(b"\r\n", b"\n"))
        self.assertEqual([f["offset"] for f in self.retrieved()][-2:], [0, 0])


class Honest(Case):
    """The real store."""

    def test_read_status(self):
        """Parts and headers are not all of it, whatever else stands in their blocks; all is."""
        self.two()
        self.alice.run("send", stdin=compose(PICTURE * 6), text=False)
        url = self.alice.json("status")[0]["url"]
        self.settled(url)
        self.assertEqual(len(self.bob.json("list")), 1)

        def status():
            return self.alice.json("status", url)[0]["read"]
        self.bob.run("structure", "1")
        self.assertEqual(status(), "unread")
        for arguments in ([], ["--headers"], ["--part", "1"], ["--part", "3"], ["--part", "2"],
                          ["--part", "TEXT"]):
            out = self.bob.run("read", "1", *arguments, text=False).stdout
            if arguments == ["--part", "2"]:
                self.assertEqual(out, PICTURE * 6)
            harness.wait_for("it shows", lambda: status() == "readHeaders")
        self.bob.run("read", "1", "--raw")
        harness.wait_for("it shows", lambda: status() == "readAll")


if __name__ == "__main__":
    harness.main()

"""im2000 export: a Maildir of all that is listed."""
# builds: plain asan

import mailbox
import os
import stat

import harness
import pulls
from people import Case


def files(folder):
    """{name: octets} of what is in new and cur."""
    found = {}
    for part in ("new", "cur"):
        for name in os.listdir(os.path.join(folder, part)):
            with open(os.path.join(folder, part, name), "rb") as file:
                found[part + "/" + name] = file.read()
    return found


class Export(Case):
    def test_all(self):
        self.two()
        for subject in ("one", "two", "three"):
            self.arrived(subject)
        self.bob.json("list")
        self.bob.run("read", "2")
        raw = self.bob.run("read", "1", "--raw", text=False).stdout
        self.arrived("not listed before")
        folder = os.path.join(self.bob.folder, "mail")
        self.assertEqual(self.bob.run("export", folder).stdout,
                         f"{folder}: 4 written, 0 were there\n")
        found = {message["Subject"]: message for message in mailbox.Maildir(folder)}
        self.assertEqual(set(found), {"one", "two", "three", "not listed before"})
        # The Maildir library reads what we wrote; --raw and a look count as reading.
        self.assertEqual({s for s, m in found.items() if "S" in m.get_flags()}, {"one", "two"})
        self.assertIn(raw.replace(b"\r\n", b"\n"), files(folder).values())
        self.assertEqual(os.listdir(os.path.join(folder, "tmp")), [])
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        self.assertEqual([i["flags"] for i in self.bob.json("list")], ["R", "R", "N", "N"])
        cache = os.listdir(os.path.join(self.bob.folder, "data", "cache"))
        self.assertEqual(cache, ["1.eml"], "nothing is kept twice")

    def test_again(self):
        """What is there stays as its owner's programs left it."""
        self.two()
        self.arrived("one")
        folder = os.path.join(self.bob.folder, "mail")
        self.bob.run("export", folder)
        name, = os.listdir(os.path.join(folder, "new"))
        os.rename(os.path.join(folder, "new", name), os.path.join(folder, "cur", name + ":2,FRS"))
        harness.write(os.path.join(folder, "tmp", "another program's"), "x")
        self.arrived("two")
        self.assertEqual(self.bob.json("export", folder), [{"written": 1, "there": 1}])
        self.assertEqual(len(files(folder)), 2)
        self.assertIn("cur/" + name + ":2,FRS", files(folder))
        self.a.stop()
        self.assertEqual(self.bob.json("export", folder), [{"written": 0, "there": 2}])

    def test_some_fail(self):
        """The others are written; nothing of a withdrawn one."""
        self.two()
        url = self.arrived("one")
        self.arrived("two")
        self.bob.json("list")
        self.alice.run("cancel", url)
        folder = os.path.join(self.bob.folder, "mail")
        done = self.bob.run("export", folder, status=1)
        self.only(done, "message 1: .*withdrawn")
        self.assertEqual(done.stdout, f"{folder}: 1 written, 0 were there\n")
        self.assertEqual(len(files(folder)), 1)
        self.a.stop()
        other = os.path.join(self.bob.folder, "other")
        done = self.bob.run("export", other, status=75)
        self.assertEqual(len(done.stderr.splitlines()), 2)
        self.assertEqual(files(other), {})

    def test_usage(self):
        self.two()
        for arguments in (["export"], ["export", ""], ["export", "a", "b"]):
            self.only(self.bob.run(*arguments, status=2), "one folder")
        self.only(self.bob.run("export", self.bob.conf, status=1), "make folder")
        self.only(self.bob.run("export", os.path.join(self.bob.folder, "no", "mail"), status=1),
                  "make folder")


class Lies(pulls.Played):
    def test_lies(self):
        """What was not announced is not written, and line ends come out as they should."""
        text = b"\r\n\r\na\r\r\nb\rc\r\n" + b"x" * 65530 + b"\r\n\r"
        message = b"From: alice@a.example\r\nSubject: Hello" + text
        self.play()
        self.announce({"message": message})
        self.bend = lambda _, answer: {**answer, "data": answer["data"][:-1] + b"\n"}
        folder = os.path.join(self.bob.folder, "mail")
        self.only(self.bob.run("export", folder, status=1), "not what was announced")
        self.assertEqual(files(folder), {})
        self.bend = None
        self.bob.run("export", folder)
        written, = files(folder).values()
        self.assertEqual(written, message.replace(b"\r\n", b"\n"))


if __name__ == "__main__":
    harness.main()

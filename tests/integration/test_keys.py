"""`im2000-store key`: a new key under a daemon that runs; old ids go on working."""

# builds: plain asan

import json
import os
import re
import shutil

import harness
from submissions import Msoap, archive, message, statuses, submit


class Rotation(Msoap):
    def keys(self):
        """What `key list` says: {number: (messages, current)}."""
        done = self.store.admin("key", "list", "--json")
        return {k["key"]: (k["messages"], k["current"])
                for k in map(json.loads, done.stdout.splitlines())}

    def rotate(self, number):
        done = self.store.admin("key", "rotate")
        self.assertEqual(done.stdout, f"{number}\n")
        return done.stderr

    def path(self, name="keys"):
        return os.path.join(self.store.data, name)

    def put(self, text, mode=0o600):
        harness.write(self.path(), text)
        os.chmod(self.path(), mode)

    def listed_id(self, subject):
        """The recipient's id of the message with SUBJECT."""
        wanted = b"Subject: " + subject.encode()
        harness.wait_for(f"{subject} is listed",
                         lambda: [n for n in self.listed() if wanted in n["header"]])
        return next(n["id"] for n in self.listed() if wanted in n["header"])

    def submit(self, subject):
        """The originator's and the recipient's ids of a message."""
        own = submit(self.client, message(subject), "bob@b.example")["id"]
        return own, self.listed_id(subject)

    def expect_works(self, subject, own, theirs):
        self.assertEqual(statuses(self.client, own).keys(), {"bob@b.example"})
        self.assertEqual(self.octets(theirs), message(subject))

    def test_old_ids_go_on(self):
        self.two()
        self.client = self.store.originator("alice")
        self.addCleanup(lambda: self.client.close())
        first = self.submit("First")
        self.assertEqual(self.keys(), {1: (1, True)})

        said = self.rotate(2)
        self.assertIn(f"send SIGHUP to process {self.store.process.pid}:", said)
        second = self.submit("Second")
        self.assertEqual(self.keys(), {1: (2, False), 2: (0, True)})
        self.store.reread("done")
        self.assertRegex(self.store.log(), r'event=keys key=2 use="from now on"')
        third = self.submit("Third")
        self.assertEqual(self.keys(), {1: (2, False), 2: (1, True)})
        everything = {"First": first, "Second": second, "Third": third}
        for subject, ids in everything.items():
            self.expect_works(subject, *ids)

        # Twice before anyone reads it, and then by a restart.
        self.rotate(3)
        self.rotate(4)
        self.store.stop()
        self.assertEqual(self.rotate(5), "")
        self.store.start()
        self.client.close()
        self.client = self.store.originator("alice")
        everything["Fourth"] = self.submit("Fourth")
        self.assertEqual(self.keys(), {1: (2, False), 2: (1, False), 3: (0, False),
                                       4: (0, False), 5: (1, True)})
        for subject, ids in everything.items():
            self.expect_works(subject, *ids)
        # What ids of old keys change goes on, too: bob reads, alice cancels.
        with self.store.client("msrap") as bob:
            bob.call("unPin", id=first[1]).expect("ok")
        self.client.call("cancel", id=second[0]).expect("ok")
        kept = {m["id"] for m in archive(self.client)}
        self.assertEqual(kept, {everything[s][0] for s in ("First", "Third", "Fourth")})

        # A backup of now opens all of them.
        copy = os.path.join(self.site.folder, "copy")
        self.store.admin("backup", copy)
        self.store.stop()
        self.store.set(data=copy)
        self.store.start()
        self.client.close()
        self.client = self.store.originator("alice")
        for subject in "Third", "Fourth":
            self.expect_works(subject, *everything[subject])

    def test_bad_files(self):
        """A daemon keeps what it has, a command refuses, and neither changes the file."""
        self.two()
        self.client = self.store.originator("alice")
        self.addCleanup(self.client.close)
        first = self.submit("First")
        with open(self.path(), encoding="ascii") as file:
            good = file.read()
        other = "0" * 64
        for text, mode, said in ((f"{good}2 {other[:60]}\n", 0o600, r"keys:2: not a key"),
                                 ("", 0o600, "no key in it"),
                                 (good, 0o640, "is open to others"),
                                 (f"1 {other}\n", 0o600, "key 1 is another than the one in use"),
                                 (None, None, "No such file")):
            if text is None:
                os.remove(self.path())
            else:
                self.put(text, mode)
            self.assertRegex(self.store.reread("kept"), said)
            if "in use" not in said:    # which a command cannot know
                for command in "rotate", "list":
                    done = self.store.admin("key", command, status=1)
                    self.assertRegex(done.stderr, rf"^im2000-store: .*{said}.*\n$")
            if text is not None:
                with open(self.path(), encoding="ascii") as file:
                    self.assertEqual(file.read(), text)
            self.assertFalse(os.path.exists(self.path("keys.new")))
            self.expect_works("First", *first)
        self.put(good)
        # A key that is gone from the file opens ids until the daemon ends.
        self.rotate(2)
        self.store.reread("done")
        second = self.submit("Second")
        with open(self.path(), encoding="ascii") as file:
            both = file.read()
        self.put(good)
        self.assertRegex(self.store.reread("done"), "event=keys key=2 file=missing")
        self.expect_works("Second", *second)
        done = self.store.admin("key", "list")
        self.assertRegex(done.stdout, r"^ *1 +1 messages, and new ones\n$")
        self.assertIn("1 messages were made with key 2, which is missing", done.stderr)
        self.put(both)
        self.store.restart()

    def test_used_wrongly(self):
        self.store = self.site.store("a.example", start=False)
        for arguments in ["key"], ["key", "turn"], ["key", "rotate", "2"], ["key", "list", "x"]:
            done = self.store.admin(*arguments, status=2)
            self.assertRegex(done.stderr, r"^im2000-store: key .+ \(see im2000-store --help\)\n$")
        shutil.rmtree(self.store.data)
        for command in "rotate", "list":
            done = self.store.admin("key", command, status=1)
            self.assertIsNone(re.search("Traceback|Segmentation", done.stderr))
            self.assertEqual(len(done.stderr.splitlines()), 1)
        os.mkdir(self.store.data, 0o700)


if __name__ == "__main__":
    harness.main()

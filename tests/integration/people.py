"""Alice, Bob and their daemons, for the tests of im2000's commands."""

import base64

import harness

MESSAGE = ("From: Alice <alice@a.example>\r\nTo: bob@b.example\r\nSubject: {}\r\n\r\n"
           "Hello Bob.\r\n")


def capability(url):
    """The id in a message URL."""
    text = url.rpartition("/")[2].upper()
    return base64.b32hexdecode(text + "=" * (-len(text) % 8))


class Case(harness.TestCase):
    """A store at a.example, an agent at b.example, Alice and Bob."""

    def two(self):
        self.b = self.site.notify("b.example")
        self.b.mailbox("bob")
        self.a = self.site.store("a.example")
        self.a.account("alice")
        self.alice = self.site.person("alice", store=self.a)
        self.bob = self.site.person("bob", notify=self.b)

    def send(self, subject="Hello", *arguments):
        """A message from Alice to Bob: its URL."""
        sent = self.alice.json("send", *arguments, stdin=MESSAGE.format(subject))
        return sent[0]["url"]

    def settled(self, url):
        """Alice's status records, once no recipient is unprocessed."""
        def look():
            found = self.alice.json("status", url)
            return all(d["notification"] != "unprocessed" for d in found) and found
        return harness.wait_for("every agent was tried", look)

    def arrived(self, subject="Hello", *arguments):
        """A message that Bob's agent has: its URL."""
        url = self.send(subject, *arguments)
        self.settled(url)
        return url

    def only(self, done, pattern=None):
        """DONE said exactly one line on stderr, with PATTERN in it."""
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("im2000: "), lines[0])
        if pattern:
            self.assertRegex(lines[0], pattern)


def established(port):
    """Whether somebody is connected to PORT of this machine."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in list(file)[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "01" and int(local.split(":")[1], 16) == port:
                return True
    return False

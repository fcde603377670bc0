"""A store with its originators, an agent with bob: for the tests of MSOAP."""

import harness
import wire


def message(subject, size=200):
    """A message of SIZE octets that no other subject has."""
    head = (b"From: alice@a.example\r\nTo: bob@b.example\r\nSubject: %b\r\n"
            b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n" % subject.encode())
    line = (subject.encode() * 80)[:76] + b"\r\n"
    return (head + line * (size // 78 + 1))[:max(size, len(head))]


def subject(header):
    for line in header.split(b"\r\n"):
        if line.startswith(b"Subject: "):
            return line[9:].decode()
    raise AssertionError(f"no subject in {header!r}")


def mailboxes(*names):
    return [wire.mailbox(name) for name in names]


def envelope(client, *recipients, **fields):
    """Says submitEnvelope and waits for nothing."""
    fields.setdefault("lifetime", 0)
    if recipients:
        fields["recipients"] = mailboxes(*recipients)
    client.send("submitEnvelope", fields)


def submit(client, octets, *recipients, **fields):
    """Submits a message whole; the answer to its envelope."""
    envelope(client, *recipients, size=len(octets), **fields)
    done = client.recv().expect("ok")
    client.call("submitChunk", isLast=True, offset=0, data=octets).expect("ok")
    return done.data


def deliveries(client, message_id, limit=None):
    """{recipient: Delivery} of a message, asked for by LIMIT at once."""
    found, fields = {}, {"id": message_id}
    if limit:
        fields["limit"] = limit
    while True:
        done = client.call("track", fields).expect("ok").data
        for delivery in done["deliveries"]:
            found.setdefault(wire.mailbox_text(delivery["recipient"]), delivery)
        if "next" not in done:
            return found
        fields["after"] = done["next"]


def statuses(client, message_id):
    """{recipient: notification status}"""
    return {name: d["notification"] for name, d in deliveries(client, message_id).items()}


def archive(client, **fields):
    """What the account keeps, over all pages: [ArchivedMessage]."""
    found, fields = [], {"after": 0, **fields}
    while True:
        done = client.call("archive", fields).expect("ok").data
        found += done["messages"]
        if "next" not in done:
            return found
        fields["after"] = done["next"]


class Msoap(harness.TestCase):
    def two(self, **settings):
        """The agent of b.example with bob, and the store of a.example with alice."""
        self.agent = self.site.notify("b.example")
        self.agent.mailbox("bob")
        self.store = self.site.store("a.example", **settings)
        self.store.account("alice")

    def wait_status(self, client, message_id, status, name="bob@b.example"):
        harness.wait_for(f"{name} is {status}",
                         lambda: statuses(client, message_id)[name] == status)

    def octets(self, message_id):
        with self.store.client("msrap") as client:
            done = client.call("retrieve", id=message_id, type="all", offset=0, length=0)
            return done.expect("ok").data["data"]

    def listed(self, name="bob"):
        """The notifications that a mailbox has."""
        with self.agent.reader(name) as reader:
            done = reader.call("retrieve", after=0, limit=1000).expect("ok")
            return [r["notification"] for r in done.data["notifications"]]

    def wait_listed(self, count, name="bob"):
        harness.wait_for(f"{name} has {count} notifications",
                         lambda: len(self.listed(name)) >= count)
        return self.listed(name)

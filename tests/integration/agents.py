"""An agent with two mailboxes, and raw stores and mail programs that talk to it."""

import os

import harness
import wire


def fresh():
    return os.urandom(16)


class Agent(harness.TestCase):
    """An agent for b.example with the mailboxes bob and eve; stores by raw clients."""

    settings = {}

    def setUp(self):
        super().setUp()
        self.open = []
        self.addCleanup(self.close_clients)
        self.prepare()
        self.agent = self.site.notify("b.example", **self.settings)
        self.agent.mailbox("bob")
        self.agent.mailbox("eve")

    def prepare(self):
        """Before the daemon starts."""

    def close_clients(self):
        for client in self.open:
            client.close()

    def kept(self, client):
        self.open.append(client)
        return client

    def store(self, *domains, cert=None, **options):
        """A store's connection that shows a certificate for DOMAINS; none: no certificate."""
        if domains:
            cert = self.site.authority.issue(*domains, usage="serverAuth")
        more = {"cert": cert[0], "key": cert[1]} if cert else {}
        return self.kept(self.agent.client("rnasp", **more, **options))

    def reader(self, name="bob"):
        return self.kept(self.agent.reader(name))

    def reconnect(self):
        """After a restart: the connections are gone."""
        self.close_clients()
        self.open = []

    @staticmethod
    def note(identity, recipient="bob@b.example", sender="alice@a.example", store=None, **more):
        return wire.notification(store or sender.rpartition("@")[2], recipient, identity, sender,
                                 **more)

    def notify(self, client, *notes):
        return client.call("notify", notifications=list(notes)).expect("ok").data["results"]

    def send(self, client, *identities, **more):
        """Notifications for bob that must be accepted."""
        notes = [self.note(i, **more) for i in identities]
        self.assertEqual(self.notify(client, *notes), ["accepted"] * len(notes))

    @staticmethod
    def withdraw(client, identity, recipient="bob@b.example"):
        client.call("withdraw", notifications=[{"recipient": wire.mailbox(recipient),
                                                "id": identity}]).expect("ok")

    @staticmethod
    def list(reader, after=0, **more):
        return reader.call("retrieve", after=after, **more).expect("ok").data["notifications"]

    def ids(self, reader, after=0):
        return [n["notification"]["id"] for n in self.list(reader, after)]

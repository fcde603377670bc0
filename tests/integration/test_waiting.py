"""Some hundred mail programs that wait for one mailbox: what each costs the agent, and that each
hears of everything once."""

import harness
from agents import Agent, fresh

# builds: plain tsan
# time-limit: 120

WARM = 30       # that come before: what the daemon takes once
COUNT = 300
EACH = 24 << 10  # octets of memory for each. The goal is 20 KiB, with 9,000 (make bench)


class Waiting(Agent):
    settings = {"sessions_per_address": 1000, "log_level": "error"}

    def setUp(self):
        super().setUp()
        self.token = self.agent.admin("mailbox", "add", "list@b.example",
                                      "--token").stdout.strip()

    def come(self, count):
        """So many who wait."""
        readers = []
        for _ in range(count):
            reader = self.kept(self.agent.reader("list", password=self.token))
            reader.send("retrieve", after=0, wait=600)
            readers.append(reader)
        return readers

    def hear(self, readers, identity):
        """Each is told of this one and nothing else; the cursor behind it."""
        nexts = set()
        for reader in readers:
            data = reader.recv().expect("ok").data
            self.assertEqual([n["notification"]["id"] for n in data["notifications"]],
                             [identity])
            nexts.add(data["next"])
        self.assertEqual(len(nexts), 1)
        return nexts.pop()

    def test_all(self):
        readers = self.come(WARM)
        before = self.agent.memory()["VmRSS"]
        readers += self.come(COUNT)
        each = (self.agent.memory()["VmRSS"] - before) / COUNT
        if harness.sanitizer() == "plain":
            self.assertLess(each, EACH)
        store, after = self.store("a.example"), 0
        for _ in range(3):
            identity = fresh()
            self.send(store, identity, recipient="list@b.example")
            after = self.hear(readers, identity)
            for reader in readers:
                reader.send("retrieve", after=after, wait=600)
        # Who goes away while it waits takes nothing from the others.
        for reader in readers[::2]:
            reader.close()
        identity = fresh()
        self.send(store, identity, recipient="list@b.example")
        self.hear(readers[1::2], identity)


if __name__ == "__main__":
    harness.main()

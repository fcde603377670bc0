"""One post to a thousand mailboxes of an agent, which all read it: the sender's store sees one."""

import os
import subprocess
import threading

import harness
import submissions
import wire

# builds: plain
# time-limit: 600

READERS = 1000
AT_ONCE = 24


class Organisation(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.b = self.site.notify("b.example")
        self.names = [f"r{i}@b.example" for i in range(READERS)]
        self.make_mailboxes()
        self.a = self.site.store("a.example", metrics="127.0.0.1:0")
        self.a.account("alice")
        self.socket = os.path.join(self.b.folder, "readers")
        uid = os.getuid()
        self.b.set(pull_cache="64M", route=[self.a.route("msrap")], metrics="127.0.0.1:0",
                   listen_rnaqp=[self.b.settings["listen-rnaqp"], "unix:" + self.socket],
                   local_user=[f"{uid} {name}" for name in self.names])
        self.b.restart()

    def make_mailboxes(self):
        """With tokens that nobody needs: the kernel vouches for who comes by the socket."""
        subprocess.run(["xargs", "-P", "4", "-I", "{}", os.path.join(harness.BIN, "im2000-notify"),
                        "mailbox", "add", "{}", "--token", "-c", self.b.conf],
                       input="\n".join(self.names), text=True, stdout=subprocess.DEVNULL,
                       check=True, timeout=300, env=self.site.environment())

    def read(self, name, message):
        """What NAME gets of the message, and whether it is that."""
        with wire.Client("rnaqp", self.socket, "b.example") as client:
            client.call("authenticate", account=name, password="").expect("ok")
            listed = client.call("retrieve", after=0, limit=2).expect("ok").data["notifications"]
            self.assertEqual(len(listed), 1)
            client.send("fetch", cursor=listed[0]["cursor"], type="all", offset=0, length=0)
            # A frame of so many octets is slow to take apart, and the octets stand at its end.
            frame = client.read_frame()
            self.assertTrue(frame.endswith(message), frame[:80])

    def read_all(self, message):
        todo, wrong, lock = list(self.names), [], threading.Lock()

        def work():
            while True:
                with lock:
                    if not todo or wrong:
                        return
                    name = todo.pop()
                try:
                    self.read(name, message)
                except Exception as e:      # told by the thread of the test
                    wrong.append((name, e))
        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    @staticmethod
    def readers(alice, post):
        """What the sender knows, once he knows something: the read statuses, in order."""
        told = sorted(d["read"] for d in submissions.deliveries(alice, post).values())
        return told[0] != "unread" and told

    def test_one_pull(self):
        message = submissions.message("to all", 1 << 20)
        with self.a.originator("alice") as alice:
            post = submissions.submit(alice, message, *self.names)["id"]
            harness.wait_for("all are notified", lambda: self.b.metrics()[
                'im2000_notify_notifications_total{result="accepted"}'] == READERS)
            self.read_all(message)
            told = harness.wait_for("that is noted", lambda: self.readers(alice, post))
        self.assertEqual(told, ["readAll"] + ["unread"] * (READERS - 1))
        seen = {key: n for key, n in self.a.metrics().items() if 'kind="retrieve"' in key}
        self.assertEqual(list(seen.values()), [1], seen)
        pulled = self.b.metrics()
        self.assertEqual(pulled['im2000_notify_pulls_total{result="ok"}'], 1)
        self.assertEqual(pulled["im2000_notify_pulled_octets_total"], len(message))
        self.assertEqual(pulled["im2000_notify_fetched_octets_total"], READERS * len(message))
        # Readers cost buffers, not messages.
        self.assertLess(self.b.memory()["VmHWM"], AT_ONCE << 20)


if __name__ == "__main__":
    harness.main()

"""100,000 recipients over 100 domains in one series of readdress commands, with a third of the
agents down for an hour: every status is right at the end, delivery by delivery."""

# builds: plain
# time-limit: 300

import harness
import test_many
import wire
from test_many import Agents, submit


class Series(test_many.Hundred):
    def due(self):
        return self.store.metrics()['im2000_store_jobs{state="due"}']

    def settle(self):
        harness.wait_for("nothing is due", lambda: self.due() == 0, 2 * harness.PATIENCE)

    def track(self, client, message, limit):
        """{mailbox: (status, attempts)}, page by page; nobody is on two of them."""
        found, pages, after = {}, 0, 0
        while True:
            done = client.call("track", id=message, after=after, limit=limit).expect("ok").data
            pages += 1
            for d in done["deliveries"]:
                box = wire.mailbox_text(d["recipient"])
                self.assertNotIn(box, found)
                found[box] = d["notification"], d["attempts"]
            if "next" not in done:
                return found, pages
            after = done["next"]

    def submit_series(self, client):
        parts = [self.recipients(n) for n in range(10)]
        message = submit(client, *parts[0])
        for part in parts[1:]:
            client.send("readdress", id=message, recipients=[wire.mailbox(p) for p in part])
        for _ in parts[1:]:
            done = client.recv().expect("ok").data
            self.assertEqual(set(done["recipients"]), {"acceptable"})
        # What is said again adds nobody.
        client.call("readdress", id=message,
                    recipients=[wire.mailbox(p) for p in parts[4]]).expect("ok")
        return message, {box for part in parts for box in part}

    def hour(self, clock):
        """In steps of five minutes; all that is due is tried."""
        for _ in range(12):
            clock.move(300)
            self.settle()

    def test_series(self):
        clock = self.site.fake_clock()
        port = harness.free_port()
        up = Agents(self.site, [d for d in self.DOMAINS if d not in self.DOWN], self.answer)
        self.start(up, routes=[f"{d} rnasp 127.0.0.1:{port}" for d in self.DOWN],
                   notify_connections_per_address=100, metrics="127.0.0.1:0")
        with self.store.originator("alice") as client:
            message, boxes = self.submit_series(client)
        self.settle()
        self.assertEqual(len(up.told), sum(b.partition("@")[2] not in self.DOWN for b in boxes))
        self.hour(clock)
        tried = self.store.metrics()['im2000_store_notifications_total{result="noServer"}']
        self.assertGreaterEqual(tried, 4 * len(self.DOWN) * 1000)
        down = Agents(self.site, self.DOWN, self.answer, port=port)
        clock.move(80 * 60)     # beyond the next try
        self.settle()
        down.wait_told(len(self.DOWN) * 1000)
        self.settle()
        with self.store.originator("alice") as client:
            found, pages = self.track(client, message, 700)
        self.assertEqual(set(found), boxes)
        self.assertGreaterEqual(pages, len(boxes) // 700)
        for box, (status, attempts) in found.items():
            self.assertEqual(status, self.STATUS[box[0]], box)
            # 1, 3, 7, 15, 31 and 63 minutes after the first, a fifth more or less.
            if box.partition("@")[2] in self.DOWN:
                self.assertTrue(5 <= attempts <= 9, (box, attempts))
            elif box[0] == "a":
                self.assertEqual(attempts, 1, box)
        self.told_as_often(up, down)
        print("the store used", self.store.memory()["VmHWM"] >> 20, "MiB at most", flush=True)
        self.finish()


if __name__ == "__main__":
    harness.main()

"""Rows of the store: submissions, pulls, growth."""

import os
import sys

import rig as r
from table import Row, median

DEAD_END = "b.example rnasp 127.0.0.1:9"     # nobody listens: notifying ends at once

SUBMIT = "Submissions of 4 KiB, durable before each answer, TLS 1.3 and login"
PULL = "Pulls over TLS"
GROWTH = "Growth"
FILL_SECONDS = 150      # for 10 million messages: three times what it takes where nothing else runs


def submissions(rig):
    store = rig.store(route=DEAD_END).start()
    dovecot = rig.dovecot() if rig.peers else None
    postfix = rig.postfix(dovecot) if rig.peers else None
    rounds, seconds = (1, 1) if rig.quick else (5, 1)
    goals = {("", 1): 2, ("", 50): 20, ("--new", 10): 3, ("--resume", 10): 4}
    rows = []
    for mode, words in (("", "kept connections"), ("--new", "a connection for each"),
                        ("--resume", "the same, resumed")):
        for at_once in (1, 10, 50):
            flags = {"": [], "--new": ["--new"], "--resume": ["--new", "--resume"]}[mode]
            arguments = ["--at-once", at_once, "--seconds", seconds, "--count", 10000000, *flags]
            mine, theirs, cpu = [], [], []
            for _ in range(rounds):
                # In turns, so that what else the machine does meets both.
                before = r.cpu_seconds(store.process.pid)
                result = rig.submit(store, *arguments)
                spent = r.cpu_seconds(store.process.pid) - before
                cpu.append(spent / max(1, result["operations"] + at_once))
                mine.append(result["per_second"])
                if postfix:
                    # The goal of resumed connections is held against Postfix's full ones.
                    peer = ["--new"] if mode == "--resume" else flags
                    theirs.append(rig.smtp(postfix, *arguments[:6], *peer)["per_second"])
            goal = goals.get((mode, at_once))
            rows.append(Row(SUBMIT, f"{words}, {at_once} at once", "a second", median(mine),
                            median(theirs), "Postfix", goal and ("ratio", goal),
                            note="Peer: Postfix, TLS from the first octet, PIPELINING, AUTH by"
                                 " Dovecot, mail then taken by `discard`; resumed: held against"
                                 " its full handshakes. Ours in one flight."))
            if mode == "" and at_once in (1, 50):
                rows.append(Row(SUBMIT, f"… the store's CPU for one, {at_once} at once", "µs",
                                1e6 * median(cpu), better=-1))
    for flags, words in ((["--wait"], "the octets after the envelope's answer"),
                         (["--exactly-once"], "with a submissionId each"),
                         (["--later"], "to be notified in an hour")):
        mine = [rig.submit(store, "--at-once", 50, "--seconds", seconds, "--count", 10000000,
                           *flags)["per_second"] for _ in range(rounds)]
        rows.append(Row(SUBMIT, f"kept connections, 50 at once, {words}", "a second",
                        median(mine)))
    rig.stop(*[thing for thing in (postfix, dovecot, store) if thing])
    return rows


def pulls(rig):
    store = rig.store(route=DEAD_END).start()
    dovecot = rig.dovecot() if rig.peers else None
    rounds = 1 if rig.quick else 5
    big, small = rig.file("big"), rig.file("small")
    rig.submit(store, "--size", "10M", "--count", 1, "--ids", big)
    rig.submit(store, "--at-once", 10, "--count", 990, "--ids", small)
    if dovecot:
        rig.lmtp(dovecot, "big@b.example", "--size", "10M", "--count", 1)
        rig.lmtp(dovecot, "small#@b.example", "--recipients", 1, "--count", 999)
        rig.imap(dovecot, "small0@b.example", "--messages", 1000, "--count", 1000)
    cert = rig.place.certificate("x.example")

    def megabytes(result):
        return result["octets"] / result["seconds"] / 1e6

    values = {"ours": [], "peer": [], "tls": []}
    times = 10 if rig.quick else 20
    for _ in range(rounds):
        values["ours"].append(megabytes(rig.pull(store, big, "--count", times)))
        values["tls"].append(megabytes(rig.tool("bench_tls", "--cert", cert[0], "--key", cert[1])))
        if dovecot:
            values["peer"].append(megabytes(rig.imap(dovecot, "big@b.example", "--count", times)))
    limit = median(values["tls"])
    rows = [Row(PULL, "one body of 10 MiB", "MB/s", median(values["ours"]),
                median(values["peer"]), "Dovecot", ("ratio", 3.5),
                note="Peer: Dovecot IMAP, Maildir, FETCH BODY.PEEK[]."),
            Row(PULL, "… of what OpenSSL alone does from thread to thread", "MB/s",
                median(values["ours"]), goal=("share", 0.7), limit=limit,
                note=f"OpenSSL alone: {limit:,.0f} MB/s in this run.")]
    for words, flags, count, goal in (
            ("bodies of 4 KiB, each waits for the one before", [], 2000, None),
            ("bodies of 4 KiB, pipelined (32 under way)", ["--depth", 32], 10000, ("ratio", 3)),
            ("bodies of 4 KiB, a connection for each", ["--new"], 150, None)):
        mine, theirs = [], []
        for _ in range(rounds):
            mine.append(rig.pull(store, small, "--count", count, *flags)["per_second"])
            if dovecot:
                theirs.append(rig.imap(dovecot, "small0@b.example", "--messages", 1000, "--count",
                                       count, *flags)["per_second"])
        rows.append(Row(PULL, words, "a second", median(mine), median(theirs), "Dovecot", goal))
    # The first reading by a recipient is noted; Dovecot's like is the flag \Seen.
    mine = rig.pull(store, small, "--count", 990, "--depth", 32, "--data", store.data)
    theirs = rig.imap(dovecot, "small0@b.example", "--messages", 1000, "--count", 999, "--depth",
                      32, "--seen") if dovecot else {"per_second": None}
    rows.append(Row(PULL, "bodies of 4 KiB, pipelined, first reading noted", "a second",
                    mine["per_second"], theirs["per_second"], "Dovecot"))
    rig.stop(*[thing for thing in (dovecot, store) if thing])
    return rows


class Grown:
    """A store with COUNT messages of 200 octets, and what was measured on it."""

    def __init__(self, rig, count):
        self.rig = rig
        self.store = rig.store(route=DEAD_END)
        self.ids = rig.file(f"ids{count}")
        self.found = {}
        self.count = rig.tool(
            "bench_fill", "--data", self.store.data, "--account", "alice", "--count", count,
            "--size", 200, "--ids", self.ids, "--seconds", 0 if rig.full else FILL_SECONDS,
            patience=3600)["operations"]

    def start(self):
        began = r.now()
        self.store.start()
        self.found["start"] = [1000 * (r.now() - began)]
        self.pull(1000)         # what a daemon has read once lies in its memory map

    def pull(self, count, depth=32):
        return self.rig.pull(self.store, self.ids, "--count", count, "--depth", depth)

    def pull_one_by_one(self, count):
        return self.pull(count, 1)

    def submit(self, at_once):
        return self.rig.submit(self.store, "--at-once", at_once, "--seconds", 1, "--count",
                               10000000)

    def measure(self, key, run, *arguments):
        before = r.cpu_seconds(self.store.process.pid)
        result = run(*arguments)
        spent = r.cpu_seconds(self.store.process.pid) - before
        # One at a time, half of them tell what it costs; the mean, who else wanted the core.
        cost = result["p50_us"] if key in ("lone", "one") else 1e6 / result["per_second"]
        self.found.setdefault(key, []).append(cost)
        self.found.setdefault(key + "-cpu", []).append(1e6 * spent / result["operations"])
        self.found["memory"] = [self.store.memory() / 1024]

    def median(self, key):
        return median(self.found[key])


GROWING = (("submit", Grown.submit, 50, "a submission of 4 KiB, 50 at once"),
           ("lone", Grown.submit, 1, "a submission of 4 KiB, 1 at once, p50"),
           ("one", Grown.pull_one_by_one, 20000, "a pull of 200 octets, 1 at once, p50"),
           ("pull", Grown.pull, 20000, "a pull of 200 octets, pipelined"))


def growth(rig):
    """Two stores with few and with many messages, measured in turns."""
    steps = (10000, 100000) if rig.quick else (10000, 10000000)
    print(f"bench: growth: {steps[-1]:,} messages are being written, a second for each 50,000 or"
          " so", file=sys.stderr)
    rounds = 1 if rig.quick else 5
    few, many = [Grown(rig, count) for count in steps]
    os.sync()
    for one in (few, many):
        one.start()
    for _ in range(rounds):
        for key, run, argument, _ in GROWING:
            for one in (few, many):
                one.measure(key, run, one, argument)
    held = os.path.getsize(os.path.join(many.store.data, "store.mdb"))
    rig.stop(few.store, many.store)
    rows = []
    for key, _, _, name in GROWING:
        for part, words in ((key, name), (key + "-cpu", "… the store's CPU for it")):
            rows.append(Row(GROWTH, words, "× the cost", many.median(part) / few.median(part),
                            goal=("value", 1.3), better=-1,
                            note=f"The cost with {many.count:,} messages stored against that with"
                                 f" {few.count:,}: two stores, in turns, medians of {rounds}."
                                 f" Stored are messages of 200 octets, {held / 1e9:.1f} GB in"
                                 " all; pulls go round 1,000 of them, evenly spread."))
    for one in (few, many):
        rows.append(Row(GROWTH, f"start-up with {one.count:,} stored", "ms",
                        one.median("start"), goal=("value", 100), better=-1))
    for one in (few, many):
        rows.append(Row(GROWTH, f"memory of its own with {one.count:,} stored", "KiB",
                        one.median("memory"), better=-1))
    return rows

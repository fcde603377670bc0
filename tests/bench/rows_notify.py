"""Rows of notifications: throughput, from accepted to listed, many recipients, idle MUAs."""

import os
import subprocess
import time

import ours
import rig as r
from table import Row, median

NOTIFY = "Notifications into the agent (RNASP, durable before each answer)"
LISTED = "From accepted to listed, both daemons on this machine"
MANY = "One message to many"
IDLE = "Idle MUAs that wait"
HOSTILE = "One origin's notifications beside another's flood"


def throughput(rig):
    agent = rig.notify()
    rig.mailboxes(agent, "u#@b.example", 1000)
    agent.start()
    cert, key = rig.place.certificate("a.example")
    rows = []
    for boxes in (1, 1000):
        for at_once in (1, 50):
            for batch in (1, 50):
                before = agent.octets_written()
                result = rig.tool(
                    "bench_notify", "--address", agent.address["rnasp"], "--domain", "b.example",
                    "--ca", rig.place.ca, "--cert", cert, "--key", key, "--sender",
                    "alice@a.example", "--to", "u#@b.example", "--mailboxes", boxes, "--at-once",
                    at_once, "--batch", batch, "--seconds", 1, "--count", 10000000)
                disk = (agent.octets_written() - before) / result["all"]
                words = (f"into {boxes:,} mailbox{'es' if boxes > 1 else ''}, {at_once}"
                         f" connection{'s' if at_once > 1 else ''}, {batch} a command")
                rows.append(Row(NOTIFY, words, "a second", result["per_second"],
                                note="Each of a message of its own. Disk: what the process gave"
                                     " to write calls, whole pages; not the file system's own"
                                     " journal."))
                rows.append(Row(NOTIFY, "… disk for each", "octets", disk, better=-1))
    rig.stop(agent)
    return rows


def hostile(rig):
    """The latency of one origin's notifications, alone and beside another's flood."""
    rows = []
    for words, sender, proof in (
            ("another proved origin, over its rate", "mallory@m.example", "m.example"),
            ("an origin that proves nothing", "mallory@m.example", "x.example")):
        # The rates as they are by default, but for that of an address: all come from one here.
        agent = rig.notify(origin_rate=20000)
        rig.mailboxes(agent, "u#@b.example", 1000)
        agent.start()
        calm, beside, flood = [], [], []
        for _ in range(2 if rig.quick else 5):
            calm.append(quiet(rig, agent))
            mallory = rig.start_tool(*notifying(rig, agent, sender, proof), "--at-once", 20,
                                     "--batch", 50, "--mailboxes", 1000, "--hostile", "--seconds",
                                     3, "--count", 1000000000)
            time.sleep(0.7)     # what it may send is used up
            beside.append(quiet(rig, agent))
            flood.append(rig.finish_tool(mallory)["per_second"])
        rig.stop(agent)
        rows.append(Row(HOSTILE, f"{words}: p50", "ms", median(beside) / 1000,
                        median(calm) / 1000, "alone", ("ratio", 0.5), better=-1,
                        note="Peer: the same notifications without the flood, in turns. Goal: at "
                             "most twice as long. The flood's own work in this machine's two "
                             "cores counts against us."))
        rows.append(Row(HOSTILE, "… the flood's notifications", "a second", median(flood)))
    return rows


def notifying(rig, agent, sender, proof):
    cert, key = rig.place.certificate(proof)
    return ("bench_notify", "--address", agent.address["rnasp"], "--domain", "b.example", "--ca",
            rig.place.ca, "--cert", cert, "--key", key, "--sender", sender, "--to", "u#@b.example")


def quiet(rig, agent):
    """One notification after the other: the p50, in microseconds."""
    return rig.tool(*notifying(rig, agent, "alice@a.example", "a.example"), "--mailboxes", 1000,
                    "--count", 1200)["p50_us"]      # far below its own rate


def listed(rig):
    agent = rig.notify()
    token = rig.mailboxes(agent, "u#@b.example", 10)
    agent.start()
    store = rig.store(route="b.example rnasp " + agent.address["rnasp"]).start()
    result = rig.tool(
        "bench_deliver", "--store-address", store.address["msoap"], "--store", "a.example",
        "--agent-address", agent.address["rnaqp"], "--agent", "b.example", "--ca", rig.place.ca,
        "--account", "alice", "--password", ours.SECRET, "--to", "u1@b.example", "--token", token,
        "--count", 200 if rig.quick else 1000)
    rig.stop(store, agent)
    return [Row(LISTED, "one message at a time, p50", "ms", result["p50_us"] / 1000,
                goal=("value", 5), better=-1,
                note="From the store's answer to the waiting MUA; 0 where the MUA was first."),
            Row(LISTED, "one message at a time, p99", "ms", result["p99_us"] / 1000,
                goal=("value", 20), better=-1)]


def wait_notices(agent, wanted, patience):
    """Until the agent holds WANTED notifications; the seconds that it took."""
    began = r.now()
    while True:
        if notices(agent) >= wanted:
            return r.now() - began
        if r.now() - began > patience:
            raise RuntimeError(f"{notices(agent)} of {wanted} notifications after {patience} s")
        time.sleep(0.005)


def notices(agent):
    text = agent.admin("stats")
    for line in text.splitlines():
        words = line.replace(":", " ").replace("=", " ").split()
        if words and words[0].startswith("notif") and words[-1].isdigit():
            return int(words[-1])
    raise RuntimeError(f"im2000-notify stats says nothing of notifications: {text}")


def many(rig):
    rows = []
    domains = [f"d{i}.example" for i in range(100)]
    agent = rig.notify(domains)
    total = 20000 if rig.quick else 100000
    rig.mailboxes(agent, "u#@d%.example", total)
    agent.start()
    where = agent.address["rnasp"]
    store = rig.store(route=[f"{domain} rnasp {where}" for domain in domains]).start()
    rig.submit(store, "--count", 1, to="u1@d1.example")     # ways and handshakes
    wait_notices(agent, 2, 20)
    held = notices(agent)
    disk_agent, disk_store = agent.octets_written(), store.octets_written()
    began = r.now()
    rig.submit(store, "--recipients", 5000, "--count", total // 5000 - 1, "--exactly-once",
               to="u#@d%.example")
    accepted = r.now() - began
    wait_notices(agent, held + 5000 * (total // 5000), 120)
    seconds = r.now() - began
    disk = (agent.octets_written() - disk_agent) / total
    both = disk + (store.octets_written() - disk_store) / total
    rows.append(Row(MANY, f"{total:,} notifications over 100 domains, all told", "a second",
                    total / seconds, goal=("value", 20000),
                    note=f"{total // 5000} submissions of 4 KiB to 5,000 recipients each, "
                         f"accepted after {accepted:.2f} s, all notified after {seconds:.2f} s."))
    rows.append(Row(MANY, "… disk of the agent for each", "octets", disk, goal=("value", 300),
                    better=-1))
    rows.append(Row(MANY, "… disk of both for each", "octets", both, better=-1))
    rows += few(rig, store, agent)
    rig.stop(store, agent)
    return rows


def few(rig, store, agent):
    """20 messages of 4 KiB, and one of 1 MiB, to 100 recipients each."""
    rows = []
    dovecot = rig.dovecot() if rig.peers else None
    for size, count, words, goal in (("4K", 20, "20 messages of 4 KiB to 100 each", None),
                                     ("1M", 1, "1 MiB to 100", ("ratio", 3))):
        mine, theirs, disk, their_disk = [], [], [], []
        for i in range(1 if rig.quick else 3):
            held = notices(agent)
            before = agent.octets_written() + store.octets_written()
            began = r.now()
            # One message comes before those that the tool counts.
            rig.submit(store, "--recipients", 100, "--count", max(1, count - 1), "--size", size,
                       to="u#@d%.example")
            sent = max(2, count)
            wait_notices(agent, held + 100 * sent, 60)
            mine.append((r.now() - began) * count / sent)
            disk.append((agent.octets_written() + store.octets_written() - before) * count / sent)
            if dovecot:
                before = r.written(dovecot.pids())
                began = r.now()
                rig.lmtp(dovecot, f"r{i}x{size}#@b.example", "--recipients", 100, "--count",
                         max(1, count - 1), "--size", size)
                theirs.append((r.now() - began) * count / sent)
                their_disk.append((r.written(dovecot.pids()) - before) * count / sent)
        rows.append(Row(MANY, f"{words}, until all can be listed", "ms", 1000 * median(mine),
                        1000 * median(theirs) if theirs else None, "Dovecot", goal, better=-1,
                        note="Peer: Dovecot LMTP, one transaction, Maildir with hard links."
                             " Written: by write calls; its new files and links are in the file"
                             " system's journal, which is not counted."))
        rows.append(Row(MANY, "… written in all", "KiB", median(disk) / 1024,
                        median(their_disk) / 1024 if theirs else None, "Dovecot",
                        ("value", 2048) if size == "1M" else None, better=-1))
    if dovecot:
        rig.stop(dovecot)
    return rows


def idle(rig):
    count = 1000 if rig.quick else 9000
    agent = rig.notify()
    token = rig.mailboxes(agent, "u#@b.example", count + 1)
    agent.start()
    cert, key = rig.place.certificate("a.example")
    # One connection, for a mailbox of its own, comes before: what the daemon takes once is not
    # counted.
    rig.tool("bench_notify", "--address", agent.address["rnasp"], "--domain", "b.example", "--ca",
             rig.place.ca, "--cert", cert, "--key", key, "--sender", "alice@a.example", "--to",
             f"u{count}@b.example", "--count", 1)
    before = agent.memory()
    process = rig.start_tool(
        "bench_idle", "--rnaqp", agent.address["rnaqp"], "--rnasp", agent.address["rnasp"],
        "--domain", "b.example", "--ca", rig.place.ca, "--cert", cert, "--key", key, "--sender",
        "alice@a.example", "--to", "u#@b.example", "--token", token, "--count", count)
    line = process.stdout.readline()
    each = (agent.memory() - before) / count / 1024
    result = rig.finish_tool(process, "go\n")
    rig.stop(agent)
    return [Row(IDLE, f"memory of the daemon for each of {count:,}", "KiB", each,
                goal=("value", 20), better=-1, note=line.strip() + "."),
            Row(IDLE, "a notification reaches one of them, p50", "ms", result["p50_us"] / 1000,
                better=-1),
            Row(IDLE, "… p99", "ms", result["p99_us"] / 1000, better=-1),
            Row(IDLE, "… the slowest of 500", "ms", result["max_us"] / 1000, goal=("value", 50),
                better=-1),
            Row(IDLE, f"one message for all {count:,}, until the last is told", "ms",
                result["all_us"] / 1000, better=-1,
                note="By notifyMany, 1,000 in a command. The MUAs' own work is in it."),
            Row(IDLE, "… told", "a second", count / result["all_us"] * 1000000)]

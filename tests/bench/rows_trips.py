"""Round trips: 100 ms between two network namespaces, the time divided by that."""

import contextlib
import os
import subprocess

import rig as r
from rows_store import DEAD_END
from table import Row

TRIPS = "Round trips, over a wire of 100 ms"
RTT_US = 100000
USER = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@contextlib.contextmanager
def wire(rig):
    """Two namespaces with the wire between them: the commands that go before another, so that
    it runs at either end."""
    names = [f"im2000-{os.getpid()}-{end}" for end in "ab"]
    process = None
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        process = subprocess.Popen(
            rig.command("bench_delay", "--a", f"/run/netns/{names[0]}", "--b",
                        f"/run/netns/{names[1]}", "--delay", RTT_US // 2000),
            text=True, stdout=subprocess.PIPE)
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the wire is not there")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        if process:
            process.terminate()
            process.wait()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def trips(rig):
    if not rig.root:
        return []
    with wire(rig) as (near, far):
        return measure(rig, near + USER, far)


def measure(rig, near, far):
    host = "10.77.0.2"
    store = rig.store(namespace=far + USER, host=host, route=DEAD_END).start()
    dovecot = rig.dovecot(namespace=far, host=host) if rig.peers else None
    postfix = rig.postfix(dovecot, namespace=far, host=host) if rig.peers else None
    if dovecot:
        # Filled from there: it is no part of what is measured.
        rig.tool("bench_smtp", "--lmtp", "--address", f"127.0.0.1:{dovecot.lmtp}", "--to",
                 "bob@b.example", "--count", 1, prefix=far)
    ids = rig.file("far")
    rig.submit(store, "--count", 1, "--ids", ids, prefix=near)
    few = ["--count", 3]

    def count(result):
        return result["p50_us"] / RTT_US

    def peer(run, server, *arguments):
        return count(run(server, *arguments, *few, prefix=near)) if server else None

    note = ("From connect to accepted or to the last octet, medians of 3. Goals: the round trips"
            " wanted, and half a one more for the work at both ends.")
    rows = []
    for words, flags, smtp, goal in (
            ("submit, new connection, the octets after the envelope's answer",
             ["--new", "--wait"], ["--new"], 4),
            ("submit, new connection, in one flight", ["--new"], ["--new"], 3),
            ("submit, resumed connection, in one flight of early data",
             ["--new", "--early", "--exactly-once"], ["--new", "--resume"], 2),
            ("submit, the next message on a connection", [], [], 1)):
        mine = count(rig.submit(store, *flags, *few, prefix=near))
        # Half a round trip more is work; a whole one would be a wait too many.
        rows.append(Row(TRIPS, words, "round trips", mine, peer(rig.smtp, postfix, *smtp),
                        "Postfix", ("value", goal + 0.5), better=-1, note=note))

    def imap(server, *arguments, prefix):
        return rig.imap(server, "bob@b.example", *arguments, prefix=prefix)

    for words, flags, fetch, goal in (
            ("pull one body of 4 KiB, new connection", ["--new"], ["--new"], 3),
            ("pull one body of 4 KiB, resumed, by early data", ["--new", "--early"],
             ["--new", "--flight"], 2)):
        mine = count(rig.pull(store, ids, *flags, *few, prefix=near))
        rows.append(Row(TRIPS, words, "round trips", mine, peer(imap, dovecot, *fetch),
                        "Dovecot", ("value", goal + 0.5), better=-1,
                        note="Dovecot: LOGIN, SELECT and FETCH each waiting for the one before;"
                             " beside the resumed pull: all in one flight."))
    rig.stop(*[thing for thing in (postfix, dovecot, store) if thing])
    return rows

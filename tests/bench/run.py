#!/usr/bin/env python3
"""Measures our daemons and, beside them in the same run, Postfix and Dovecot.

usage: run.py --build DIR [--quick | --full] [--no-peers] [--only NAME]... [--out FILE]

DIR has the programs and bench/. Everything runs in a temporary folder, on loopback, our daemons
as an ordinary user. Prints one table, and writes it with the machine's description to FILE. The
peers, and the wire between two network namespaces, need root; without it their cells stay empty.
It takes 6 to 8 minutes and 10 GB of the temporary folder's disk. --quick: under two minutes, fewer
and shorter rounds, less stored. --full: however long it takes to store 10 million messages; else
what is stored after some minutes has to do. What stands in FILE by hand, under HAND, is kept."""

import argparse
import ctypes
import datetime
import os
import platform
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import peers        # noqa: E402 (the path is set above)
import rig          # noqa: E402
import rows_notify  # noqa: E402
import rows_store   # noqa: E402
import rows_trips   # noqa: E402
import table        # noqa: E402

PARTS = {
    "submit": rows_store.submissions,
    "pull": rows_store.pulls,
    "trips": rows_trips.trips,
    "listed": rows_notify.listed,
    "notify": rows_notify.throughput,
    "hostile": rows_notify.hostile,
    "many": rows_notify.many,
    "idle": rows_notify.idle,
    "growth": rows_store.growth,
}

# FILE from this line on is written by people.
HAND = "## Where the time goes"

# prctl(2): what outlives its parent becomes ours to wait for, not a stranger's.
PR_SET_CHILD_SUBREAPER = 36


def first_line(path, key):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(key):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return "?"


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def output(*command):
    try:
        return subprocess.run(command, text=True, capture_output=True, check=False).stdout.strip()
    except OSError:
        return ""


def machine(bench):
    """What the figures depend on: lines of text."""
    memory = int(first_line("/proc/meminfo", "MemTotal").split()[0]) // 1024 // 1024
    where = output("findmnt", "-no", "FSTYPE,SOURCE", "-T", bench.folder).split()
    lines = [
        f"{os.cpu_count()} cores, {first_line('/proc/cpuinfo', 'model name')}, {memory} GiB",
        f"Linux {platform.release()}; data on {' on '.join(where) or '?'}",
        system() + "; " + output("openssl", "version").partition("(")[0].strip(),
    ]
    if bench.peers:
        lines.append(f"peers: Postfix {peers.Postfix.version()}, Dovecot"
                     f" {peers.Dovecot.version()}, with their default durability")
    else:
        lines.append(f"no peers: {bench.why_no_peers}")
    return lines


def page(lines, rows, how, load, failed):
    today = datetime.date.today().isoformat()
    busy = f"before the run other programs took {100 * load:.0f} % of the cores"
    if load > 0.1:
        busy += (": our daemons and the peers do not suffer from that alike. Neither figures nor"
                 " ratios nor what is under its goal can be relied on: run it again on a quiet"
                 " machine")
    text = ["# Benchmarks", "", "Written by `make bench`, but for the last section; what is"
            " measured and how stands in", "tests/bench/. Absolute figures move from machine to"
            " machine and from day to day: what", "counts is the ratio to the peer in one run."
            " Client and server share the machine.", "",
            f"{today}, {how}:", ""]
    text += ["- " + line for line in lines] + ["- " + busy]
    text += [f"- not measured: {name}: {why}" for name, why in failed]
    text += [""] + verdict(rows)
    return "\n".join(text) + "\n" + table.markdown(rows) + "\n"


def load_of_others(seconds=3):
    """The part of the cores that is taken while we do nothing: 0 to 1."""
    def look():
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]
    all_before, idle_before = look()
    time.sleep(seconds)
    all_after, idle_after = look()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def by_hand(path):
    try:
        with open(path, encoding="utf-8") as file:
            _, mark, rest = file.read().partition("\n" + HAND + "\n")
            return mark + rest
    except FileNotFoundError:
        return ""


def verdict(rows):
    goals = [row for row in rows if row.met() is not None]
    under = [row for row in goals if not row.met()]
    lines = [f"{len(goals) - len(under)} of {len(goals)} goals are met."]
    if under:
        lines[0] += " Under theirs:"
    return lines + [f"- {row.group}: {row.name}" for row in under]


def measure(bench, names):
    rows, failed = [], []
    for name in names:
        began = time.monotonic()
        try:
            found = PARTS[name](bench)
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            print(f"bench: {name}: {e}", file=sys.stderr)
            failed.append((name, str(e).splitlines()[0]))
            for thing in list(bench.things):
                bench.stop(thing)
            continue
        rows += found
        print(f"bench: {name}: {len(found)} rows in {time.monotonic() - began:.0f} s",
              file=sys.stderr)
    return rows, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--only", action="append", choices=sorted(PARTS))
    parser.add_argument("--out")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    load = load_of_others()
    if not (arguments.quick or arguments.only):
        print("bench: 6 to 8 minutes, on a machine that does nothing else; the table comes last",
              file=sys.stderr)
    bench = rig.Rig(os.path.abspath(arguments.build), arguments.quick, arguments.full,
                    not arguments.no_peers)
    try:
        rows, failed = measure(bench, arguments.only or list(PARTS))
        lines = machine(bench)
    finally:
        bench.close()
    for line in lines:
        print(line)
    print(table.text(rows))
    print("\n".join([""] + verdict(rows)))
    if arguments.out:
        how = "quick" if arguments.quick else "full" if arguments.full else "default"
        text = page(lines, rows, f"{how} run", load, failed) + by_hand(arguments.out)
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

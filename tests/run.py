#!/usr/bin/env python3
"""Runs the test programs of one or more builds, and counts.

usage: run.py --builds DIR [--results FILE] [NAME...]

DIR has a folder for each build that is to be tested: plain, asan, tsan (tests/check.sh makes
them), each with the programs, tests/ (unit tests) and fuzz/ (targets that replay a corpus).
What runs in which build, a line in the test's source says, `builds: plain asan`; without one:
unit tests in plain and asan, integration tests and corpora in asan. `time-limit: 600` in the
source sets the seconds after which a program is ended (300).
NAME: only programs whose name contains it. FILE: lines `pass NAME`, `fail NAME`, counted too.

The last line is `N passed, N failed`, test cases. Exit status 1 when one failed or none ran."""

import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

SRC = os.environ.get("IM2000_SRC") or os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))
BUILDS = ("plain", "asan", "tsan")
DEFAULT_LIMIT = 300
# Output of a failed program that is shown: its start and its end.
SHOWN = 40000

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:"
                    "allow_addr2line=1:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:allow_addr2line=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1:allow_addr2line=1:exitcode=66",
}


class Program:
    """One program in one build: what to run, and afterwards what came of it."""

    def __init__(self, build, name, command, source, limit):
        self.build, self.name, self.command = build, name, command
        self.source, self.limit = source, limit
        self.passed = self.failed = self.skipped = 0
        self.output, self.seconds, self.note = "", 0.0, ""

    @property
    def label(self):
        return f"{self.build}/{self.name}"

    def run(self, builds):
        folder = os.path.join(builds, self.build)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="im2000-run-") as scratch:
            environment = {**SANITIZER_OPTIONS, **os.environ, "IM2000_BIN": folder,
                           "IM2000_SRC": SRC, "IM2000_BUILD": self.build, "TMPDIR": scratch,
                           "PYTHONDONTWRITEBYTECODE": "1"}
            status = self.execute(environment, scratch)
        self.seconds = time.monotonic() - started
        self.count(status)
        return self

    def execute(self, environment, scratch):
        """Runs it in a process group of its own, all of which is gone afterwards."""
        try:
            process = subprocess.Popen(
                self.command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as e:
            self.note = f"cannot run: {e.strerror}"
            return -1
        try:
            octets, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            self.note = f"not done in {self.limit} s"
            self.end_group(process)
            octets, _ = process.communicate()
        self.end_group(process)
        self.output = octets.decode("utf-8", "replace")
        return process.returncode

    @staticmethod
    def end_group(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def count(self, status):
        self.read_counts()
        if status != 0 and not self.note:
            self.note = f"signal {-status}" if status < 0 else f"exit status {status}"
        if self.note and not self.failed:
            self.failed = 1
        elif not self.passed + self.failed + self.skipped:
            self.failed, self.note = 1, "ran no test case"

    def read_counts(self):
        """What cmocka, unittest or replay_main.c say at their end."""
        def total(pattern):
            return sum(int(n) for n in re.findall(pattern, self.output, re.MULTILINE))
        if self.name.startswith("unit/"):
            self.passed = total(r"^\[  PASSED  \] (\d+) test")
            self.failed = total(r"^\[  FAILED  \] (\d+) test")
            self.skipped = total(r"^\[  SKIPPED \] (\d+) test")
        elif self.name.startswith("integration/"):
            self.skipped = total(r"^(?:OK|FAILED) \(.*skipped=(\d+)")
            self.failed = (total(r"^FAILED \(.*failures=(\d+)")
                           + total(r"^FAILED \(.*errors=(\d+)"))
            self.passed = max(0, total(r"^Ran (\d+) test") - self.failed - self.skipped)
        else:
            self.passed = 1 if total(r"^(\d+) inputs replayed$") else 0

    def report(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        word = "FAIL" if self.failed else "ok  "
        note = f"  ({self.note})" if self.note else ""
        print(f"{word}  {self.label}: {self.passed} passed, {self.failed} failed{skipped},"
              f" {self.seconds:.1f} s{note}")
        if self.failed:
            text = self.output
            if "\n=====" in text:      # unittest's own account of what failed comes first
                start, end = text.split("\n=====", 1)
                text = "=====" + end + "\n" + start
            if len(text) > SHOWN:
                cut = len(text) - SHOWN
                text = text[:SHOWN // 2] + f"\n[{cut} characters]\n" + text[-SHOWN // 2:]
            print("    " + text.rstrip().replace("\n", "\n    "))
        sys.stdout.flush()


def declared(source, default):
    """(builds, time limit) that the source of a test asks for."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    builds = re.search(r"^(?:#|/\*| \*)\s*builds:\s*([a-z ]+)", text, re.MULTILINE)
    limit = re.search(r"^(?:#|/\*| \*)\s*time-limit:\s*(\d+)", text, re.MULTILINE)
    chosen = builds.group(1).split() if builds else default
    unknown = set(chosen) - set(BUILDS)
    if unknown:
        sys.exit(f"{source}: no such build: {', '.join(unknown)}")
    return chosen, int(limit.group(1)) if limit else DEFAULT_LIMIT


def programs(builds):
    """All programs, in the order in which they start: the long ones first."""
    found = []

    def add(kind, pattern, default, command):
        for source in sorted(glob.glob(os.path.join(SRC, pattern))):
            base = os.path.splitext(os.path.basename(source))[0]
            chosen, limit = declared(source, default)
            found.extend(Program(build, f"{kind}/{base}", command(build, base, source), source,
                                 limit) for build in chosen)

    add("integration", "tests/integration/test_*.py", ["asan"],
        lambda build, base, source: ["/usr/bin/python3", "-B", "-W", "ignore::ResourceWarning",
                                     source])
    add("unit", "tests/unit/test_*.c", ["plain", "asan"],
        lambda build, base, source: [os.path.join(builds, build, "tests", base)])
    add("fuzz", "tests/fuzz/fuzz_*.c", ["asan"],
        lambda build, base, source: [os.path.join(builds, build, "fuzz", base),
                                     os.path.join(SRC, "tests/fuzz/corpus", base)])
    present = {build for build in BUILDS if os.path.isdir(os.path.join(builds, build))}
    found = [program for program in found if program.build in present]
    found.sort(key=lambda program: -program.limit)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--builds", required=True)
    parser.add_argument("--results")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if os.geteuid() == 0:
        sys.exit("run.py: the tests run as an ordinary user (tests/tools/as_user.sh)")

    passed = failed = 0
    bad = []
    if arguments.results:
        with open(arguments.results, encoding="utf-8") as file:
            for line in file:
                word, name = line.split(maxsplit=1)
                passed += word == "pass"
                failed += word != "pass"
                bad += [name.strip()] if word != "pass" else []

    chosen = [program for program in programs(os.path.abspath(arguments.builds))
              if not arguments.names or any(n in program.label for n in arguments.names)]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = [pool.submit(program.run, os.path.abspath(arguments.builds))
                   for program in chosen]
        for future in concurrent.futures.as_completed(running):
            program = future.result()
            program.report()
            passed += program.passed
            failed += program.failed
            bad += [program.label] if program.failed else []

    if not chosen:
        print("no test program was found")
    if bad:
        print("failed: " + " ".join(bad))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed or not chosen else 0)


if __name__ == "__main__":
    main()

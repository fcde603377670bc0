"""What all rows share: the time that is left, our programs and the peers, and running tools."""

import json
import os
import shutil
import subprocess
import tempfile
import time

import ours
import peers


class Rig:
    """A folder with everything in it. `quick`, `full`: how much is done. `peers`: whether the
    peers can run here."""

    def __init__(self, build, quick=False, full=False, with_peers=True):
        self.quick, self.full = quick, full
        self.folder = tempfile.mkdtemp(prefix="im2000-bench-")
        os.chmod(self.folder, 0o755)
        self.place = ours.Place(build, self.folder)
        self.things = []
        self.root = os.geteuid() == 0
        self.why_no_peers = None
        if not with_peers:
            self.why_no_peers = "not asked for"
        elif not self.root:
            self.why_no_peers = "their masters need root"
        elif not (os.path.exists("/usr/lib/postfix/sbin/master")
                  and os.path.exists("/usr/sbin/dovecot")):
            self.why_no_peers = "not installed"
        self.peers = self.why_no_peers is None
        self.count = 0

    # ---- what runs

    def name(self, what):
        self.count += 1
        return f"{what}{self.count}"

    def store(self, domain="a.example", **settings):
        store = ours.Store(self.place, self.name("store"), [domain], **settings)
        store.account("alice")
        self.things.append(store)
        return store

    def notify(self, domains=("b.example",), **settings):
        # What limits floods would limit the load.
        limits = {"mailbox_notifications": 100000000, "origin_notifications": 100000000,
                  "origin_rate": 0, "address_rate": 0}
        agent = ours.Notify(self.place, self.name("notify"), list(domains),
                            **{**limits, **settings})
        self.things.append(agent)
        return agent

    def mailboxes(self, agent, pattern, count):
        """Adds them to an agent that does not run; the token of all of them."""
        return self.tool("bench_mailboxes", "--data", agent.data, "--to", pattern, "--count",
                         count, json_output=False).strip()

    def dovecot(self, **options):
        peer = peers.Dovecot(os.path.join(self.folder, self.name("dovecot")),
                             self.place.certificate("a.example"), **options)
        self.things.append(peer)
        return peer

    def postfix(self, dovecot, **options):
        peer = peers.Postfix(os.path.join(self.folder, self.name("postfix")),
                             self.place.certificate("a.example"), dovecot.sasl, **options)
        self.things.append(peer)
        return peer

    def stop(self, *things):
        for thing in things:
            thing.stop()
            self.things.remove(thing)

    def close(self):
        for thing in reversed(self.things):
            thing.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- measuring

    def file(self, name):
        """A path that the tools may write."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii"):
            pass
        ours.give(path)
        return path

    def command(self, tool, *arguments):
        return [self.place.program(tool)] + [str(a) for a in arguments]

    def tool(self, tool, *arguments, json_output=True, patience=120, prefix=()):
        done = subprocess.run(list(prefix) + self.command(tool, *arguments), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=patience, **({} if prefix else ours.identity()))
        if done.returncode:
            raise RuntimeError(f"{tool} {' '.join(str(a) for a in arguments)}:"
                               f" {done.stderr.strip()}")
        return json.loads(done.stdout) if json_output else done.stdout

    def start_tool(self, tool, *arguments):
        """One that runs beside others; finish_tool waits for it."""
        return subprocess.Popen(self.command(tool, *arguments), text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, **ours.identity())

    @staticmethod
    def finish_tool(process, words=None, patience=120):
        try:
            out, _ = process.communicate(words, timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if process.returncode:
            raise RuntimeError(f"{process.args[0]} failed")
        return json.loads(out)

    def submit(self, store, *arguments, to="bob@b.example", **options):
        return self.tool("bench_submit", "--address", store.address["msoap"], "--domain",
                         store.domains[0], "--ca", self.place.ca, "--account", "alice",
                         "--password", ours.SECRET, "--to", to, *arguments, **options)

    def smtp(self, postfix, *arguments, **options):
        return self.tool("bench_smtp", "--address", f"{postfix.host}:{postfix.port}", "--domain",
                         "a.example", "--ca", self.place.ca, "--account", "alice", "--password",
                         ours.SECRET, "--to", "bob@b.example", *arguments, **options)

    def lmtp(self, dovecot, to, *arguments):
        return self.tool("bench_smtp", "--lmtp", "--address", f"127.0.0.1:{dovecot.lmtp}",
                         "--to", to, *arguments)

    def pull(self, store, ids, *arguments, **options):
        return self.tool("bench_pull", "--address", store.address["msrap"], "--domain",
                         store.domains[0], "--ca", self.place.ca, "--ids", ids, *arguments,
                         **options)

    def imap(self, dovecot, account, *arguments, **options):
        return self.tool("bench_imap", "--address", f"{dovecot.host}:{dovecot.port}", "--domain",
                         "a.example", "--ca", self.place.ca, "--account", account, "--password",
                         ours.SECRET, *arguments, **options)


def written(pids):
    """Octets that processes have given to write calls so far, as Daemon.octets_written."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/io", encoding="ascii") as file:
                for line in file:
                    if line.startswith("wchar:"):
                        total += int(line.split()[1])
        except OSError:
            pass
    return total


def cpu_seconds(pid):
    """Of a process with the children that it has waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def now():
    return time.monotonic()

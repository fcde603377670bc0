"""What the integration tests share: folders, certificates, daemons, people, a clock to move.

    class Pull(harness.TestCase):
        def test_text(self):
            a = self.site.store("a.example", accounts={"alice": "secret"})
            ...

A test gets a fresh `site`: a folder, a CA, and everything started through it, which ends with
the test. A daemon that does not end cleanly, or that a sanitizer complains about, fails the
test although nobody looked. Environment (tests/run.py sets it): IM2000_BIN, the folder of the
programs (build/ by default); IM2000_SRC, the root of the sources."""

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import certs
import dns
import wire

SRC = wire.SRC
BIN = os.environ.get("IM2000_BIN") or os.path.join(SRC, "build")

# Seconds until a healthy program has surely started, stopped or done a command.
PATIENCE = 60

# Takes the descriptors to where they belong, in the process that the daemon will be.
_HAND_OVER = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""

_COMPLAINT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: ")


def free_port():
    return dns.free_port()


def sanitizer():
    """What the programs under test are built with: "asan", "tsan" or "plain"."""
    return os.environ.get("IM2000_BUILD", "plain")


class Failed(AssertionError):
    """A program did not do what the harness needs of it; the text says which and how."""


def write(path, text):
    """Writes a file, whole or not at all: a daemon may be reading it."""
    with open(path + ".new", "wb") as file:
        file.write(text.encode("utf-8") if isinstance(text, str) else text)
    os.replace(path + ".new", path)


def endpoint(address):
    """(host, port), or the path of a UNIX socket, as configurations write it."""
    if isinstance(address, str):
        return "unix:" + address
    return "[%s]:%d" % address if ":" in address[0] else "%s:%d" % address


def config_text(settings):
    """{"domain": "a.example", "route": [...]} as lines; None leaves a key out."""
    lines = []
    for key, value in settings.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        lines += [f"{key} = {v}" for v in values if v is not None]
    return "\n".join(lines) + "\n"


def config_read(path):
    """The settings in a file without sections, as config_text takes them; values are lists."""
    settings = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith("#"):
                settings.setdefault(key.strip(), []).append(value.strip())
    return settings


def wait_for(what, condition, patience=PATIENCE):
    """Calls CONDITION until it answers something true, and returns that. WHAT is for people."""
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"in {patience} s it did not happen that {what}")
        time.sleep(0.02)


def http_get(address, target):
    """(status, body) of a GET at (host, port), or at a UNIX socket's path."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    if isinstance(address, str):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(address)
    else:
        connection.sock = socket.create_connection(address, PATIENCE)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")
    finally:
        connection.close()


def memory(pid):
    """Octets: {"VmRSS": now, "VmHWM": the most so far} of a process."""
    found = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM"):
                found[key] = int(value.split()[0]) * 1024
    return found


class Clock:
    """The wall clock of the programs that are started with its environment (clock.c). It can
    be moved while they run. Their monotonic clock, and so their timers, stay real."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "clock")
        self.library = os.path.join(BIN, "tests", "clock.so")
        if not os.path.exists(self.library):
            raise Failed(f"{self.library} is missing: make tests")
        self.offset = 0
        write(self.path, bytes(8))

    def move(self, seconds):
        """SECONDS later than it was (earlier if negative)."""
        self.offset += seconds
        # Written in place: the programs have the file mapped.
        with open(self.path, "r+b") as file:
            file.write(struct.pack("=q", int(self.offset * 1000000)))

    def now(self):
        return time.time() + self.offset

    def environment(self):
        return {"LD_PRELOAD": self.library, "IM2000_TEST_CLOCK": self.path}


class Daemon:
    """im2000-store or im2000-notify in a folder of its own, with one configuration file.

    `address` maps each protocol it serves to (host, port), once started. The ports are chosen
    at the first start and kept, so that a daemon can be stopped and come back."""

    program = None      # "im2000-store"
    file_name = None    # "store.conf"
    serves = ()         # ("msoap", "msrap")

    def __init__(self, site, domain, ca=None, cert=None, **settings):
        self.site = site
        self.domain = domain
        self.folder = os.path.join(site.folder, f"{self.program}-{domain}")
        self.conf = os.path.join(self.folder, self.file_name)
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.address = {}
        self.metrics_address = None     # (host, port) or a path, where metrics are served
        self.ends_badly = False     # the test expects that it does not end by itself with 0
        site.run(self.program, "init", self.folder, "--domain", domain, "--listen", "127.0.0.1")
        written = config_read(self.conf)
        self.data = os.path.join(self.folder, written["data"][0])
        cert = cert or site.authority.issue(domain, usage="serverAuth")
        self.settings = {
            "domain": domain, "data": written["data"],
            "certificate": cert[0], "key": cert[1], "ca-file": ca or site.authority.ca}
        self.settings.update({"listen-" + kind: "127.0.0.1:0" for kind in self.serves})
        self.set(**settings)

    def set(self, **settings):
        """Changes settings (max_message="1M" for max-message; None removes) in the file. A
        running daemon reads it at reload()."""
        for key, value in settings.items():
            self.settings[key.replace("_", "-")] = value
        write(self.conf, config_text(self.settings))

    # ---- running

    def start(self, environment=None, sockets=()):
        """Starts it and waits for its ready line. SOCKETS: (name, listening socket) to hand over
        as a service manager would."""
        log = open(self.log_path, "ab")
        command = [os.path.join(BIN, self.program), "run", "-c", self.conf]
        fds = [socket.fileno() for _, socket in sockets]
        environment = dict(environment or {})
        if sockets:
            environment["LISTEN_FDS"] = str(len(fds))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in sockets)
            command = [sys.executable, "-c", _HAND_OVER, ",".join(map(str, fds)), *command]
        self.process = subprocess.Popen(
            command, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, pass_fds=fds,
            env=self.site.environment(environment))
        log.close()
        self.ends_badly = False
        self._read_ready()
        self.set(**{"listen-" + kind: endpoint(address)
                    for kind, address in self.address.items()})
        return self

    def _read_ready(self):
        line, deadline = b"", time.monotonic() + PATIENCE
        stdout = self.process.stdout
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([stdout], [], [], max(0, deadline - time.monotonic()))
            octets = os.read(stdout.fileno(), 1024) if readable else b""
            if not octets:
                why = "closed its output" if readable else "said nothing in time"
                self.kill()
                raise Failed(f"{self.program} {self.domain}: {why} instead of ready;"
                             f" log:\n{self.log()}")
            line += octets
        words = line.decode("ascii").split()
        if words[0] != "ready":
            raise Failed(f"{self.program}: {line!r} is no ready line")
        for word in words[1:]:
            kind, _, where = word.partition("=")
            if where.startswith("unix:"):
                self.address[kind] = where[len("unix:"):]
            else:
                host, _, port = where.rpartition(":")
                self.address[kind] = (host.strip("[]"), int(port))
        self.metrics_address = self.address.pop("metrics", None)
        if set(self.address) != set(self.serves):
            raise Failed(f"{self.program}: {line!r} does not name {self.serves}")

    def stop(self, patience=PATIENCE):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self._reap(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.program} {self.domain}: still there {patience} s after"
                         f" SIGTERM; log:\n{self.log()}") from None

    def kill(self):
        """SIGKILL: as a crash would."""
        if self.process is not None:
            self.process.kill()
            self._reap(PATIENCE)

    def ended(self, patience=PATIENCE):
        """Waits until it has ended by itself; returns the exit status, -9 for SIGKILL."""
        return self._reap(patience)

    def _reap(self, patience):
        status = self.process.wait(patience)
        self.process.stdout.close()
        self.process = None
        return status

    def reload(self):
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def reread(self, result):
        """SIGHUP; what the log says, once that has come to RESULT: "done", or "kept"."""
        before = len(self.log())
        self.reload()
        wait_for("the configuration is read again",
                 lambda: re.search(r"event=reload result=.*\n", self.log()[before:]))
        text = self.log()[before:]
        wanted = "result=done" if result == "done" else "the old configuration stays"
        if wanted not in text:
            raise Failed(f"{self.program}: not {wanted}, but:\n{text}")
        return text

    def restart(self, environment=None):
        self.stop()
        return self.start(environment)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def memory(self):
        return memory(self.process.pid)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def finish(self):
        """Ends it if it runs. Returns what was wrong with it: a list of texts."""
        wrong = []
        if self.process is not None:
            gone = self.process.poll()
            try:
                status = self.stop()
            except Failed as e:
                status, wrong = 0, [str(e)]
            if status != 0 and not self.ends_badly:
                when = "by itself" if gone is not None else "after SIGTERM"
                wrong.append(f"{self.program} {self.domain} ended with {status} {when}")
        if _COMPLAINT.search(self.log()):
            wrong.append(f"{self.program} {self.domain}: a sanitizer's report, in its log")
        return wrong + self.check()

    def check(self):
        """What its tables do not add up to, whatever the test did: a list of texts."""
        done = self.admin("check", status=None)
        if done.stdout == "":   # all well, or the test left a configuration that is none
            return []
        return [f"{self.program} {self.domain}: check says: {done.stdout}{done.stderr}"]

    # ---- talking to it

    def admin(self, *arguments, **options):
        """Runs one of its commands (`account add` ...) on its configuration; see Site.run."""
        return self.site.run(self.program, *arguments, "-c", self.conf, **options)

    def client(self, kind, **options):
        """A raw TLS client of one of its services (wire.Client), which trusts the site's CA."""
        options.setdefault("ca", self.site.authority.ca)
        return wire.Client(kind, self.address[kind], options.pop("name", self.domain), **options)

    def metrics(self):
        """What it tells of itself: {"name{label=\"value\"}": number}."""
        status, body = http_get(self.metrics_address, "/metrics")
        if status != 200:
            raise Failed(f"{self.program}: metrics answered {status}")
        samples = {}
        for line in body.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                if name in samples:
                    raise Failed(f"{self.program}: {name} is there twice")
                samples[name] = float(value)
        return samples

    def route(self, kind):
        """The value of a `route` setting that leads to it."""
        return f"{self.domain} {kind} {endpoint(self.address[kind])}"


class Store(Daemon):
    program = "im2000-store"
    file_name = "store.conf"
    serves = ("msoap", "msrap")

    def account(self, name, *senders, password="secret", quota=None):
        """Adds an account that may send as SENDERS (default: NAME at the store's domain)."""
        arguments = ["account", "add", name]
        for sender in senders or [f"{name}@{self.domain}"]:
            arguments += ["--sender", sender]
        if quota:
            arguments += ["--quota", quota]
        self.admin(*arguments, "--password-file", "-", stdin=password + "\n")

    def originator(self, account, password="secret", **options):
        """A raw MSOAP client that has authenticated."""
        client = self.client("msoap", **options)
        try:
            client.call("authenticate", account=account, password=password).expect("ok")
        except BaseException:
            client.close()
            raise
        return client


class Notify(Daemon):
    program = "im2000-notify"
    file_name = "notify.conf"
    serves = ("rnasp", "rnaqp")

    def mailbox(self, name, password="secret"):
        """Adds the mailbox NAME (a local part, or whole)."""
        whole = name if "@" in name else f"{name}@{self.domain}"
        self.admin("mailbox", "add", whole, "--password-file", "-", stdin=password + "\n")

    def reader(self, name, password="secret", **options):
        """A raw RNAQP client that has authenticated."""
        whole = name if "@" in name else f"{name}@{self.domain}"
        client = self.client("rnaqp", **options)
        client.call("authenticate", account=whole, password=password).expect("ok")
        return client


class Person:
    """Somebody who uses `im2000`: a mailbox at NOTIFY and an account at STORE (either may be
    None), by name NAME, with passwords "secret" unless told. SETTINGS go before the section."""

    def __init__(self, site, name, notify=None, store=None, password="secret", **settings):
        self.site = site
        domain = (notify or store).domain
        self.address = name if "@" in name else f"{name}@{domain}"
        self.folder = os.path.join(site.folder, "home-" + self.address)
        os.makedirs(self.folder)
        self.conf = os.path.join(self.folder, "agent.conf")
        secret = os.path.join(self.folder, "password")
        write(secret, password + "\n")
        os.chmod(secret, 0o600)
        self.settings = {"data": os.path.join(self.folder, "data"),
                         "ca-file": site.authority.ca}
        self.account = {"mailbox": self.address}
        if notify:
            self.account.update({"notify-domain": notify.domain, "notify-login": self.address,
                                 "notify-password-file": secret})
        if store:
            self.account.update({"store-domain": store.domain,
                                 "store-login": name.partition("@")[0],
                                 "store-password-file": secret})
        self.set(**settings)

    def set(self, **settings):
        """Changes settings before the section. Without a `route` there, the routes are those to
        all that runs at the site."""
        for key, value in settings.items():
            self.settings[key.replace("_", "-")] = value

    def write_conf(self):
        routes = {} if "route" in self.settings else {"route": self.site.routes()}
        write(self.conf, config_text({**self.settings, **routes}) + "[account home]\n"
              + config_text(self.account))

    def run(self, *arguments, **options):
        """Runs `im2000 -c CONF ARGUMENTS...`; see Site.run."""
        self.write_conf()
        return self.site.run("im2000", "-c", self.conf, *arguments, **options)

    def json(self, *arguments, **options):
        """The records that a command prints with --json."""
        done = self.run(*arguments, "--json", **options)
        return [json.loads(line) for line in done.stdout.splitlines()]


class Site:
    """A folder with a CA, daemons and people; everything ends with close()."""

    def __init__(self, name="test"):
        self.folder = tempfile.mkdtemp(prefix="im2000-" + name + "-")
        self.authority = certs.Authority(os.path.join(self.folder, "ca"))
        self.daemons = []
        self.others = []        # things with a stop() or close()
        self.processes = []
        self.clock = None

    # ---- what stands in it

    def store(self, domain, start=True, **settings):
        return self._daemon(Store, domain, start, settings)

    def notify(self, domain, start=True, **settings):
        return self._daemon(Notify, domain, start, settings)

    def _daemon(self, kind, domain, start, settings):
        if kind is Store:
            settings.setdefault("allow_private", "yes")
            settings.setdefault("route", self.routes())
        daemon = kind(self, domain, **settings)
        self.daemons.append(daemon)
        return daemon.start() if start else daemon

    def person(self, name, notify=None, store=None, **settings):
        settings.setdefault("allow_private", "yes")
        return Person(self, name, notify, store, **settings)

    def dns(self, zones):
        """A real DNS server with ZONES; see dns.Server."""
        server = dns.Server(os.path.join(self.folder, f"dns{len(self.others)}"), zones)
        self.others.append(server)
        return server

    def server(self, kind, domain, serve, cert=None):
        """A raw server of KIND for DOMAIN; see wire.Server."""
        cert = cert or self.authority.issue(domain, usage="serverAuth")
        server = wire.Server(kind, cert[0], cert[1], serve, ca=self.authority.ca)
        self.others.append(server)
        return server

    def fake_clock(self):
        """From now on programs are started with a clock that can be moved."""
        if self.clock is None:
            self.clock = Clock(self.folder)
        return self.clock

    def routes(self):
        """`route` values to every service of every daemon that has been started."""
        return [daemon.route(kind) for daemon in self.daemons for kind in daemon.address]

    # ---- running programs

    def environment(self, more=None):
        """The environment of the programs: little of the test's own."""
        kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")
        env = {key: os.environ[key] for key in kept if key in os.environ}
        env.update({key: value for key, value in os.environ.items()
                    if key.endswith("SAN_OPTIONS")})
        env.setdefault("LC_ALL", "C.UTF-8")
        if self.clock:
            env.update(self.clock.environment())
        env.update(more or {})
        return env

    def run(self, program, *arguments, stdin="", status=0, text=True, environment=None,
            patience=PATIENCE):
        """Runs a program to its end: subprocess.CompletedProcess with stdout and stderr.

        STATUS: the exit status that it must have, None for any. STDIN: text, or octets with
        TEXT false."""
        command = [os.path.join(BIN, program), *arguments]
        if text is False and stdin == "":
            stdin = b""
        try:
            done = subprocess.run(command, input=stdin, text=text, capture_output=True,
                                  timeout=patience, check=False, cwd=self.folder,
                                  env=self.environment(environment))
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command)}: not done in {patience} s") from None
        err = done.stderr if text else done.stderr.decode("utf-8", "replace")
        if _COMPLAINT.search(err) or status is not None and done.returncode != status:
            raise Failed(f"{' '.join(command)}: exit status {done.returncode}, expected"
                         f" {status}\n{done.stdout}\n{err}")
        return done

    def start(self, program, *arguments, environment=None):
        """Starts a program and leaves it running (`im2000 wait`): subprocess.Popen."""
        process = subprocess.Popen(
            [os.path.join(BIN, program), *arguments], text=True, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment(environment))
        self.processes.append(process)
        return process

    # ---- its end

    def logs(self):
        """The end of every daemon's log, for a test that failed."""
        return "".join(f"---- {d.program} {d.domain}: log\n{d.log()[-6000:]}\n"
                       for d in self.daemons)

    def close(self):
        """Ends everything and removes the folder. Failed when a daemon did not end well."""
        wrong = []
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        for daemon in self.daemons:
            wrong += daemon.finish()
        for other in self.others:
            (other.stop if hasattr(other, "stop") else other.close)()
        logs = self.logs() if wrong else ""
        if os.environ.get("IM2000_KEEP"):
            print("kept:", self.folder, file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        if wrong:
            raise Failed("\n".join(wrong) + "\n" + logs)


class TestCase(unittest.TestCase):
    """A test with a site of its own. When it fails, the daemons' logs are shown."""

    def setUp(self):
        self.site = Site(type(self).__name__)
        self.addCleanup(self.site.close)

    def _callTestMethod(self, method):
        try:
            method()
        except unittest.SkipTest:
            raise
        except BaseException:
            sys.stderr.write(self.site.logs())
            raise


def main():
    """For the end of each test file: if __name__ == "__main__": harness.main()"""
    if os.geteuid() == 0:
        sys.exit("The tests run as an ordinary user; tests/tools/as_user.sh runs one as nobody.")
    unittest.main(verbosity=2)

"""Our daemons, each in a folder of its own, as an ordinary user: `nobody` when root measures."""

import os
import pwd
import re
import subprocess
import sys

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SRC, "tests", "integration"))

import certs  # noqa: E402 (the path is set above)

SECRET = "secret"
PATIENCE = 60


def identity():
    """What makes subprocess run a program as an ordinary user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give(path):
    """Makes PATH the ordinary user's."""
    who = identity()
    if who:
        os.chown(path, who["user"], who["group"])


class Place:
    """The programs, a folder that the ordinary user can use, and a CA."""

    def __init__(self, build, folder):
        self.folder = folder
        self.bin = os.path.join(folder, "bin")
        os.mkdir(self.bin)
        # The sources may lie where the ordinary user cannot go.
        for name in ("im2000-store", "im2000-notify"):
            subprocess.run(["cp", os.path.join(build, name), self.bin], check=True)
        for name in sorted(os.listdir(os.path.join(build, "bench"))):
            subprocess.run(["cp", os.path.join(build, "bench", name), self.bin], check=True)
        self.authority = certs.Authority(os.path.join(folder, "ca"))
        self.ca = self.authority.ca
        os.chmod(os.path.join(folder, "ca"), 0o755)

    def certificate(self, *domains):
        cert = self.authority.issue(*domains, usage="serverAuth")
        give(cert[1])
        return cert

    def program(self, name):
        return os.path.join(self.bin, name)


class Daemon:
    program = file_name = None
    serves = ()

    def __init__(self, place, name, domains, namespace=(), host="127.0.0.1", cert=None,
                 **settings):
        self.place, self.domains = place, domains
        self.namespace = list(namespace)
        self.folder = os.path.join(place.folder, name)
        self.conf = os.path.join(self.folder, self.file_name)
        self.process = None
        self.address = {}
        os.mkdir(self.folder)
        give(self.folder)
        self.run("init", self.folder, "--domain", domains[0], "--listen", host)
        with open(self.conf, encoding="utf-8") as file:
            self.data = os.path.join(
                self.folder, re.search(r"(?m)^data\s*=\s*(.*)$", file.read()).group(1))
        cert = cert or place.certificate(*domains)
        self.settings = {"domain": domains, "data": self.data, "certificate": cert[0],
                         "key": cert[1], "ca-file": place.ca, "log-level": "warn",
                         "sessions-per-address": 20000, "sessions": 20000}
        self.settings.update({f"listen-{kind}": f"{host}:0" for kind in self.serves})
        self.settings.update({k.replace("_", "-"): v for k, v in settings.items()})
        self.write()

    def write(self):
        with open(self.conf, "w", encoding="utf-8") as file:
            for key, value in self.settings.items():
                for one in value if isinstance(value, (list, tuple)) else [value]:
                    file.write(f"{key} = {one}\n")

    def run(self, *arguments, stdin=""):
        done = subprocess.run([self.place.program(self.program), *arguments], input=stdin,
                              text=True, capture_output=True, check=False, cwd=self.folder,
                              **identity())
        if done.returncode:
            raise RuntimeError(f"{self.program} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def admin(self, *arguments, stdin=""):
        return self.run(*arguments, "-c", self.conf, stdin=stdin)

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.namespace + [self.place.program(self.program), "run", "-c", self.conf],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, **({} if self.namespace else identity()))
        words = self.process.stdout.readline().split()
        if not words or words[0] != "ready":
            self.process.wait(PATIENCE)
            raise RuntimeError(f"{self.program} is not ready: {self.log()}")
        for word in words[1:]:
            kind, _, where = word.partition("=")
            self.address[kind] = where
        return self

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def octets_written(self):
        """That the process has given to write calls so far (proc(5), wchar). Its `write_bytes`
        counts whole folios of the page cache, hundreds of times what goes to the disk."""
        with open(f"/proc/{self.process.pid}/io", encoding="ascii") as file:
            return int(re.search(r"(?m)^wchar: (\d+)$", file.read()).group(1))

    def memory(self):
        """Resident octets that are the process's own: without what it has mapped of files."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"(?m)^RssAnon:\s*(\d+) kB$", file.read()).group(1)) * 1024


class Store(Daemon):
    program, file_name, serves = "im2000-store", "store.conf", ("msoap", "msrap")

    def account(self, name):
        self.admin("account", "add", name, "--sender", f"{name}@{self.domains[0]}",
                   "--password-file", "-", stdin=SECRET + "\n")


class Notify(Daemon):
    program, file_name, serves = "im2000-notify", "notify.conf", ("rnasp", "rnaqp")

    def mailbox(self, whole):
        self.admin("mailbox", "add", whole, "--password-file", "-", stdin=SECRET + "\n")

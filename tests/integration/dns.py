"""Real and broken DNS servers on loopback, as the ordinary user that runs the tests."""

import os
import shutil
import socket
import struct
import subprocess
import time

_CONFIG = """
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    pidfile: ""
    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zone.list"
    logfile: "{folder}/nsd.log"
    server-count: 1
    rrl-ratelimit: 0
    hide-version: yes
remote-control:
    control-enable: no
"""


def zone(domain, records, ttl=5):
    """The text of DOMAIN's zone with RECORDS (master file lines) behind SOA and NS."""
    return (f"$ORIGIN {domain}.\n$TTL {ttl}\n"
            f"@ IN SOA ns hostmaster 1 3600 900 86400 {ttl}\n"
            f"@ IN NS ns\nns IN A 127.0.0.1\n{records}\n")


def free_port():
    """A port that is free now for TCP and UDP on loopback. Better is port 0, where it can be."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]
    raise RuntimeError("no free port")


def ask(port, name, kind=6, timeout=1.0):
    """Asks the server on loopback PORT by UDP: the response code, or None for silence."""
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.strip(".").split("."))
    query = struct.pack(">HHHHHH", 0x2000, 0x0100, 1, 0, 0, 0) + labels + b"\0" \
        + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(query)
            answer = sock.recv(4096)
        except OSError:
            return None
    return answer[3] & 0x0f if len(answer) >= 4 and answer[:2] == query[:2] else None


class Server:
    """NSD, authoritative for ZONES: {domain: text of its zone, see zone()}.

    A domain whose text is None is configured without a zone file: SERVFAIL. What is in no zone
    is REFUSED; so for NXDOMAIN of a whole domain give the zone above it ("example")."""

    def __init__(self, folder, zones):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.process = None
        self.zones = dict(zones)
        self.port = None
        self.start()

    @property
    def address(self):
        """For the configuration: dns-server = ADDRESS."""
        return f"127.0.0.1:{self.port}"

    def start(self):
        program = shutil.which("nsd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise RuntimeError("nsd is not installed")
        known = self.port
        for _ in range(5):      # the port may be taken between looking and binding
            self.port = known or free_port()
            self._write()
            self.process = subprocess.Popen(
                [program, "-d", "-c", os.path.join(self.folder, "nsd.conf")],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            if self._wait():
                return
            self.stop()
        raise RuntimeError("nsd does not start:\n" + self.log())

    def _wait(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            if ask(self.port, next(iter(self.zones)), timeout=0.2) is not None:
                return True
            time.sleep(0.02)
        return False

    def _write(self):
        text = _CONFIG.format(port=self.port, folder=self.folder)
        for domain, content in self.zones.items():
            text += f'zone:\n    name: "{domain}"\n    zonefile: "{domain}.zone"\n'
            if content is not None:
                path = os.path.join(self.folder, domain + ".zone")
                with open(path, "w", encoding="ascii") as file:
                    file.write(content)
        with open(os.path.join(self.folder, "nsd.conf"), "w", encoding="ascii") as file:
            file.write(text)

    def change(self, domain, text):
        """Serves TEXT for DOMAIN from now on: a new process on the same port."""
        self.zones[domain] = text
        self.stop()
        self.start()

    def log(self):
        try:
            with open(os.path.join(self.folder, "nsd.log"), encoding="utf-8") as file:
                return file.read()
        except OSError:
            return ""

    def stop(self):
        """SIGTERM to the parent ends NSD's children too."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Silent:
    """A DNS server that hears every question and never answers."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]

    def stop(self):
        self.sock.close()

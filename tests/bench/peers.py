"""The peers: Postfix and Dovecot (Debian's) in folders of their own, on free loopback ports.

Both need root for their master processes. Nothing of /etc/postfix or /etc/dovecot is used, and
their durability is their default. `Peer.stop` ends what was started, by process group."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

SECRET = "secret"

POSTFIX_MAIN = """
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
queue_directory = {folder}/queue
data_directory = {folder}/data
config_directory = {folder}/etc
mail_owner = postfix
setgid_group = postdrop
myhostname = a.example
mydomain = a.example
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks = 127.0.0.0/8 10.0.0.0/8
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
default_transport = discard
maillog_file =
"""

# What is received is taken off the queue by `discard`: the cheapest delivery there is.
POSTFIX_MASTER = """
{host}:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
"""

POSTFIX_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                  "incoming", "private", "saved", "trace")

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap lmtp
listen = {host}
ssl = required
ssl_cert = <{cert}
ssl_key = <{key}
auth_mechanisms = plain
disable_plaintext_auth = yes
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
first_valid_uid = 1
passdb {{
  driver = static
  args = password={secret}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u allow_all_users=yes
}}
service auth {{
  inet_listener sasl {{
    address = 127.0.0.1
    port = {sasl}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""


def free_port(host="127.0.0.1"):
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def write(path, text, mode=0o644):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


def wait_port(host, port, process, name, patience=20):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{name} does not answer on {host}:{port}")


def children(pid):
    """PID and all that it started, as /proc tells: [pid]."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class Peer:
    """A peer that runs. NAMESPACE: a command that goes before its own (ip netns exec ...)."""

    name = None

    def __init__(self, folder, namespace=()):
        self.folder = folder
        self.namespace = list(namespace)
        self.process = None
        os.makedirs(folder)

    def launch(self, command, host, port):
        with open(os.path.join(self.folder, "out"), "ab") as out:
            self.process = subprocess.Popen(
                self.namespace + command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True)
        if not self.namespace:
            wait_port(host, port, self.process, self.name)
        else:
            time.sleep(1)

    def pids(self):
        return children(self.process.pid) if self.process else []

    def stop(self):
        if self.process is None:
            return
        known = self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in known[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                os.waitpid(pid, 0)      # ours by now: run.py is their reaper
            except ChildProcessError:
                pass
        self.process = None


class Postfix(Peer):
    """smtpd with TLS from the first octet; AUTH through Dovecot's auth service."""

    name = "Postfix"

    @staticmethod
    def version():
        done = subprocess.run(["/usr/sbin/postconf", "-dh", "mail_version"], text=True,
                              capture_output=True, check=False)
        return done.stdout.strip() or "?"

    def __init__(self, folder, cert, sasl, host="127.0.0.1", **options):
        super().__init__(folder, **options)
        self.port = free_port()
        owner = pwd.getpwnam("postfix")
        etc, queue = os.path.join(folder, "etc"), os.path.join(folder, "queue")
        os.mkdir(etc)
        os.mkdir(queue)
        for name in POSTFIX_QUEUES:
            os.mkdir(os.path.join(queue, name), 0o700)
            os.chown(os.path.join(queue, name), owner.pw_uid, -1)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            path = os.path.join(queue, name)
            os.mkdir(path)
            shutil.chown(path, "postfix", "postdrop")
            os.chmod(path, mode)
        os.mkdir(os.path.join(queue, "pid"))
        os.mkdir(os.path.join(folder, "data"), 0o700)
        os.chown(os.path.join(folder, "data"), owner.pw_uid, -1)
        write(os.path.join(etc, "main.cf"),
              POSTFIX_MAIN.format(folder=folder, host=host, cert=cert[0], key=cert[1], sasl=sasl))
        write(os.path.join(etc, "master.cf"),
              POSTFIX_MASTER.format(host=host, port=self.port))
        self.host = host
        self.launch(["/usr/lib/postfix/sbin/master", "-d", "-c", etc], host, self.port)


class Dovecot(Peer):
    """IMAP with TLS from the first octet, LMTP and SASL for Postfix."""

    name = "Dovecot"

    @staticmethod
    def version():
        done = subprocess.run(["/usr/sbin/dovecot", "--version"], text=True, capture_output=True,
                              check=False)
        return done.stdout.split(" ")[0].strip() or "?"

    def __init__(self, folder, cert, host="127.0.0.1", **options):
        super().__init__(folder, **options)
        self.port, self.lmtp, self.sasl = free_port(), free_port(), free_port()
        user = pwd.getpwnam("nobody")
        os.mkdir(os.path.join(folder, "mail"))
        os.chown(os.path.join(folder, "mail"), user.pw_uid, user.pw_gid)
        conf = os.path.join(folder, "dovecot.conf")
        write(conf, DOVECOT.format(
            folder=folder, host=host, cert=cert[0], key=cert[1], secret=SECRET, user=user.pw_uid,
            group=user.pw_gid, port=self.port, lmtp=self.lmtp, sasl=self.sasl))
        self.host = host
        self.launch(["/usr/sbin/dovecot", "-F", "-c", conf], host, self.port)

"""Certificates for tests, made with the openssl command."""

import datetime
import os
import subprocess

_CONFIG = """
[ca]
default_ca = this
[this]
new_certs_dir = .
database = index.txt
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = optional
"""


class Authority:
    """A private CA in the folder DIR. `ca` is its certificate's file, for trusting it."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca = os.path.join(folder, "ca.pem")
        self.key = os.path.join(folder, "ca.key")
        self.count = 0
        self._write("ca.conf", _CONFIG)
        self._write("index.txt", "")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-keyout", self.key, "-out", self.ca, "-days", "3650",
                      "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, *domains, usage=None, start=-1, end=3650):
        """(certificate file, key file) for DOMAINS as DNS names.

        USAGE: extended key usage ("serverAuth"), None for no such extension. START and END:
        days from now on, so END = -1 has expired and START = 1 is not valid yet."""
        self.count += 1
        base = os.path.join(self.folder, f"{self.count}-{domains[0] if domains else 'none'}")
        cert, key, request = base + ".pem", base + ".key", base + ".csr"
        extensions = ["basicConstraints=CA:FALSE"]
        if domains:
            extensions.append("subjectAltName=" + ",".join("DNS:" + d for d in domains))
        if usage:
            extensions.append("extendedKeyUsage=" + usage)
        self._write(base + ".ext", "\n".join(extensions) + "\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", key, "-out", request, "-subj", "/CN=test")
        self._openssl("ca", "-batch", "-notext", "-config", "ca.conf", "-cert", self.ca,
                      "-keyfile", self.key, "-in", request, "-out", cert,
                      "-extfile", base + ".ext", "-startdate", _stamp(min(start, end - 1)),
                      "-enddate", _stamp(end))
        os.chmod(key, 0o600)
        return cert, key

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]} failed:\n{done.stderr}")


def _stamp(days):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%Y%m%d%H%M%SZ")

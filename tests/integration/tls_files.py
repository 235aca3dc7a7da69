"""Certificates for tests of TLS, made by openssl(1) in a folder that goes with the process.

    files = tls_files.make()         # a Files: paths by name, see NAMES
    context = files.client("client") # an ssl.SSLContext that trusts the CA and shows that one
"""

import atexit
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
RSA = ["-newkey", "rsa:2048"]
PASSWORD = "open sesame"


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"openssl {args}: {done.stderr}")


class Files:
    """NAME.crt and NAME.key: ca, other (another CA), server, server2 (RSA), client, expired (like
    server and client, but over), stranger (a client of the other CA); locked.key: server's with a
    password; dh.pem."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="splitring-tls-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        for name in ("ca", "other"):
            openssl("req", "-x509", *EC, "-nodes", "-days", "30", "-subj", f"/CN={name}",
                    "-keyout", self[f"{name}.key"], "-out", self[f"{name}.crt"])
        self.sign("server", "ca")
        self.sign("server2", "ca", RSA)
        self.sign("client", "ca")
        self.sign("expired", "ca", days=-1)
        self.sign("stranger", "other")
        openssl("pkey", "-in", self["server.key"], "-aes-128-cbc", "-passout", f"pass:{PASSWORD}",
                "-out", self["locked.key"])
        openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048",
                "-out", self["dh.pem"])

    def __getitem__(self, name):
        return self.folder / name

    def sign(self, name, ca, kind=EC, days=30):
        extensions = self["extensions"]
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", self[f"{name}.key"],
                "-out", self[f"{name}.csr"])
        openssl("x509", "-req", "-in", self[f"{name}.csr"], "-CA", self[f"{ca}.crt"],
                "-CAkey", self[f"{ca}.key"], "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", self[f"{name}.crt"])

    def server(self, name="server", auth="no"):
        """Options of a server that shows this certificate."""
        return ["--tls-cert-file", self[f"{name}.crt"], "--tls-key-file", self[f"{name}.key"],
                "--tls-ca-cert-file", self["ca.crt"], "--tls-auth-clients", auth]

    def client(self, name=None, version=None, ca="ca"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self[f"{ca}.crt"])
        if name:
            context.load_cert_chain(self[f"{name}.crt"], self[f"{name}.key"])
        if version:
            context.minimum_version = context.maximum_version = version
        return context


made = None


def make():
    global made
    made = made or Files()
    return made

"""Client certificates that are good for seconds: `otlp-gate certs` makes none below a day."""

import datetime
import subprocess
from dataclasses import dataclass
from pathlib import Path

from client import Identity

CONFIG = """\
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


@dataclass
class Brief:
    """A client's certificate, and when it ends."""

    identity: Identity
    end: datetime.datetime

    @classmethod
    def issue(cls, folder: Path, certs: Path, uri: str, seconds: int) -> "Brief":
        """One of the clients' CA in `certs`, with that URI."""
        folder.mkdir()
        key, request, certificate = (folder / name for name in ("client.key", "client.csr", "client.crt"))
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        (folder / "ca.cnf").write_text(CONFIG.format(folder=folder))
        (folder / "extensions").write_text(f"subjectAltName = URI:{uri}\nextendedKeyUsage = clientAuth\n")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("req", "-new", *curve, "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=brief")
        now = datetime.datetime.now(datetime.UTC)
        end = (now + datetime.timedelta(seconds=seconds)).replace(microsecond=0)
        start = now - datetime.timedelta(minutes=5)
        signed_by = ("-cert", certs / "client-ca.crt", "-keyfile", certs / "client-ca.key")
        dates = ("-startdate", f"{start:%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}")
        what = ("-in", request, "-out", certificate, "-notext", "-extfile", folder / "extensions")
        openssl("ca", "-batch", "-config", folder / "ca.cnf", *signed_by, *what, *dates)
        return cls(Identity(certificate, key, certs / "server-ca.crt"), end)

    def left(self) -> float:
        """Seconds until it has ended."""
        return (self.end - datetime.datetime.now(datetime.UTC)).total_seconds()


def openssl(*args: object) -> None:
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

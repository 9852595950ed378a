"""Certificates by OpenSSL, for what `otlp-gate certs` does not issue: validity of seconds, or in the past."""

import datetime
import subprocess
from pathlib import Path

from support.client import Identity

CA_CONFIG = """\
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


def openssl(*args: object, cwd: Path | None = None) -> str:
    """Runs `openssl` and returns its output; its failure is the test's."""
    command = ["openssl", *map(str, args)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def issue(
    folder: Path, certs: Path, uri: str, start: datetime.datetime, end: datetime.datetime, more: tuple[str, ...] = ()
) -> Identity:
    """A certificate of the client CA in `certs`, with this URI and validity, and with more names such as
    `DNS:a.example`. Its files are in the new `folder`."""
    folder.mkdir()
    key, request, certificate = (folder / name for name in ("client.key", "client.csr", "client.crt"))
    (folder / "index").touch()
    (folder / "serial").write_text("4242\n")
    (folder / "ca.cnf").write_text(CA_CONFIG.format(folder=folder))
    names = ", ".join((f"URI:{uri}", *more))
    (folder / "extensions").write_text(f"subjectAltName = {names}\nextendedKeyUsage = clientAuth\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl("req", "-new", *curve, "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=test")
    ca = ("-cert", certs / "client-ca.crt", "-keyfile", certs / "client-ca.key")
    dates = ("-startdate", f"{start:%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}")
    files = ("-in", request, "-out", certificate, "-notext", "-extfile", folder / "extensions")
    openssl("ca", "-batch", "-config", folder / "ca.cnf", *ca, *files, *dates)
    return Identity(certificate, key, certs / "server-ca.crt")


def issue_for(
    folder: Path, certs: Path, uri: str, seconds: int, more: tuple[str, ...] = ()
) -> tuple[Identity, datetime.datetime]:
    """The same with a certificate that is valid for this many seconds more, and the time of its end."""
    end = (now() + datetime.timedelta(seconds=seconds)).replace(microsecond=0)
    return issue(folder, certs, uri, now() - datetime.timedelta(minutes=5), end, more), end

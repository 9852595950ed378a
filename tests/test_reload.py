"""The config file and the certificates change while connections are open."""

import hashlib
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Answer, Http2, Identity, frame
from conftest import CONFIG
from gate import Certificates, Gate
from sink import GRPC_PATHS, Sink
from wire import traces

TRACES = GRPC_PATHS["traces"]


def send(connection: Http2) -> Answer:
    return connection.grpc(TRACES, frame(traces("a")))


def until(connection: Http2, status: int) -> Answer:
    """Sends until the answer has this status: workers take a policy a moment after Envoy's main thread."""
    deadline = time.monotonic() + 10
    while (answer := send(connection)).grpc_status != status:
        assert time.monotonic() < deadline, answer
    return answer


def fingerprint(identity: Identity) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())).hexdigest()


def test_a_new_policy_acts_on_open_connections(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0
        assert sink.take().resources()[0]["tenant.id"] == "acme"

        gate.write_config(CONFIG.replace("{tenant.id: acme}", "{tenant.id: renamed}"))
        gate.says("policy updated: 5 client rules")
        deadline = time.monotonic() + 10
        while True:
            assert send(connection).grpc_status == 0
            if sink.take().resources()[0]["tenant.id"] == "renamed":
                break
            assert time.monotonic() < deadline

        gate.write_config(CONFIG + f'deny: ["sha256:{fingerprint(acme)}"]\n')
        gate.says("policy updated")
        assert "denied" in until(connection, 7).grpc_message

        gate.write_config(CONFIG)
        gate.says("policy updated")
        until(connection, 0)


@pytest.mark.parametrize(
    "bad, words",
    [
        (CONFIG.replace("attributes: {tenant.id: acme}", "atributes: {tenant.id: acme}"), "atributes"),
        (CONFIG.replace("quota: few", "quota: fewer"), "fewer"),
        ("clients: [", "otlp-gate.yaml"),
        ("", "otlp-gate.yaml"),
    ],
    ids=["an unknown key", "an unknown tier", "no YAML", "nothing"],
)
def test_a_bad_policy_is_told_and_changes_nothing(
    start: Callable[..., Gate], acme: Identity, sink: Sink, bad: str, words: str
) -> None:
    gate = start().ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0

        gate.write_config(bad)
        gate.says("the previous policy stays in use")
        assert words in "\n".join(gate.said)
        assert send(connection).grpc_status == 0

        gate.write_config(CONFIG + f'deny: ["sha256:{fingerprint(acme)}"]\n')
        gate.says("policy updated")
        until(connection, 7)


def test_a_config_file_that_goes_away_changes_nothing(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    gate.config.unlink()
    gate.says("the previous policy stays in use")
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0


def test_a_change_of_quotas_keeps_what_is_spent(
    start: Callable[..., Gate], certificates: Certificates, sink: Sink
) -> None:
    identity = certificates.client("few-reload", "--spiffe", "spiffe://few.example/reload")
    gate = start().ready()
    with Http2(gate.grpc, identity) as connection:
        assert connection.grpc(TRACES, frame(traces(*"a" * 20))).grpc_status == 0
        assert connection.grpc(TRACES, frame(traces(*"a" * 10))).grpc_status == 8

        gate.write_config(CONFIG.replace("headers:", "headers: {X-New: new}\n#"))
        gate.says("policy updated")
        assert connection.grpc(TRACES, frame(traces(*"a" * 10))).grpc_status == 8


def test_new_certificates_are_used_without_a_restart(
    start: Callable[..., Gate], tmp_path: Path, config: Path, acme: Identity, foreign: Identity, sink: Sink
) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(acme.ca.parent, folder)
    gate = start(CONFIG, certs=folder).ready()
    with Http2(gate.grpc, acme) as open_connection:
        assert send(open_connection).grpc_status == 0
        with pytest.raises((ssl.SSLError, ConnectionError)):
            send(Http2(gate.grpc, foreign))

        # A second CA beside the clients' own, at first without its list of what it revoked.
        theirs = foreign.certificate.parent.parent
        with (folder / "client-ca.crt").open("a") as file:
            file.write((theirs / "client-ca.crt").read_text())
        gate.says("the previous certificates stay in use")
        assert "no list that is signed by" in "\n".join(gate.said)
        with (folder / "client.crl").open("a") as file:
            file.write((theirs / "client.crl").read_text())
        gate.says("certificates updated")
        with Http2(gate.grpc, foreign) as connection:
            assert send(connection).grpc_status == 0

        # The server's certificate, renewed.
        was = ssl.PEM_cert_to_DER_cert((folder / "server.crt").read_text())
        Certificates(folder, config).run("renew", "server", "--new-key")
        gate.says("certificates updated")
        with Http2(gate.grpc, acme) as connection:
            assert connection.socket.getpeercert(binary_form=True) != was
            assert send(connection).grpc_status == 0

        # One that does not fit is left out.
        (folder / "server.key").write_text(acme.key.read_text())
        gate.says("the previous certificates stay in use")
        assert "is not the key of" in "\n".join(gate.said)
        with Http2(gate.grpc, acme) as connection:
            assert send(connection).grpc_status == 0
        assert send(open_connection).grpc_status == 0


def test_a_revoked_certificate_gets_no_new_connection(
    start: Callable[..., Gate], tmp_path: Path, config: Path, acme: Identity, sink: Sink
) -> None:
    folder = tmp_path / "certs"
    shutil.copytree(acme.ca.parent, folder)
    certificates = Certificates(folder, config)
    leaver = certificates.client("leaver", "--spiffe", "spiffe://acme.example/edge/leaver")
    gate = start(CONFIG, certs=folder).ready()
    with Http2(gate.grpc, leaver) as connection:
        assert send(connection).grpc_status == 0

    certificates.run("revoke", "leaver")
    gate.says("certificates updated")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        send(Http2(gate.grpc, leaver))
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0


@pytest.mark.parametrize(
    "key", ["rsa:1024", "rsa:2048"], ids=["of a key that Envoy takes from nobody", "of another key"]
)
def test_a_client_is_shut_out_though_the_servers_new_certificate_is_of_no_use(
    start: Callable[..., Gate], tmp_path: Path, config: Path, acme: Identity, sink: Sink, key: str
) -> None:
    folder, beside = tmp_path / "certs", tmp_path / "beside"
    shutil.copytree(acme.ca.parent, folder)
    shutil.copytree(folder, beside)
    Certificates(beside, config).run("revoke", "--cert", str(acme.certificate))
    file = "server.key" if key == "rsa:1024" else "another.key"
    useless = f"req -x509 -newkey {key} -nodes -subj /CN=localhost -keyout {file} -out server.crt"
    subprocess.run(["openssl", *useless.split()], cwd=beside, check=True, capture_output=True)
    gate = start(CONFIG, certs=folder).ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0

    for name in ["client.crl", "server.key", "server.crt"]:
        shutil.copy(beside / name, folder / name)
    gate.says("the previous certificates stay in use")
    deadline = time.monotonic() + 10
    while True:
        try:
            send(Http2(gate.grpc, acme))
        except (ssl.SSLError, ConnectionError):
            break
        assert time.monotonic() < deadline, "a revoked client gets in"

    for name in ["server.key", "server.crt"]:
        shutil.copy(acme.ca.parent / name, folder / name)
    gate.says("certificates updated")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        send(Http2(gate.grpc, acme))


def refused(gate: Gate, identity: Identity) -> bool:
    try:
        with Http2(gate.grpc, identity) as connection:
            return send(connection).grpc_status != 0
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_revoked_client_is_refused_with_every_certificate_that_it_ever_had(
    start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink
) -> None:
    certificates = Certificates(tmp_path / "certs", config).make()
    name = ("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    now = certificates.client(*name)
    other = certificates.client("stays", "--spiffe", "spiffe://acme.example/edge/2")

    def kept(copy: str) -> Identity:
        folder = tmp_path / copy
        folder.mkdir()
        return Identity(
            Path(shutil.copy(now.certificate, folder)),
            Path(shutil.copy(now.key, folder)),
            certificates.folder / "server-ca.crt",
        )

    first = kept("first")
    certificates.run("renew", "acme-edge")
    renewed = kept("renewed")
    certificates.run("client", *name, "--force", "--unchecked")
    gate = start(CONFIG, certs=certificates.folder).ready()
    assert not any(refused(gate, identity) for identity in (first, renewed, now, other))

    certificates.run("revoke", "acme-edge", "--earlier")
    gate.says("certificates updated")
    assert refused(gate, first) and refused(gate, renewed)
    assert not refused(gate, now)
    certificates.run("revoke", "acme-edge")
    gate.says("certificates updated")
    assert all(refused(gate, identity) for identity in (first, renewed, now))
    assert not refused(gate, other)


def test_a_list_from_the_future_shuts_nobody_out(
    start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink
) -> None:
    certificates = Certificates(tmp_path / "certs", config).make()
    identity = certificates.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    gate = start(CONFIG, certs=certificates.folder).ready()

    (tmp_path / "index").write_text("")
    (tmp_path / "number").write_text("1000")
    (tmp_path / "ca.cnf").write_text("[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n")

    def at(seconds: int) -> str:
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))

    ca = certificates.folder / "client-ca"
    command = ["openssl", "ca", "-gencrl", "-config", "ca.cnf", "-cert", f"{ca}.crt", "-keyfile", f"{ca}.key"]
    command += ["-crl_lastupdate", at(8), "-crl_nextupdate", at(864_000), "-out", "new.crl"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "new.crl").replace(certificates.folder / "client.crl")
    gate.says("the previous certificates stay in use")
    assert "is from the future" in "\n".join(gate.said)
    assert not refused(gate, identity)
    # and it is taken when its time has come
    gate.says("certificates updated")
    assert not refused(gate, identity)

"""`local` reloads the config file and the certificates while connections are open."""

import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Answer, Http2, Identity, frame
from support.config import BURST, SHARED, Config
from support.gate import Certificates, Gate
from support.openssl import openssl
from support.protobuf import traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

TRACES = GRPC_PATHS["traces"]


def send(connection: Http2) -> Answer:
    return connection.grpc(TRACES, frame(traces("a")))


def send_until(connection: Http2, status: int) -> Answer:
    """Sends until the answer has this status: workers apply a policy after Envoy's main thread does."""

    def answer() -> Answer:
        found = send(connection)
        assert found.grpc_status == status, found
        return found

    return wait_until(answer, f"the gRPC status is {status}")


def denying(identity: Identity) -> Config:
    return SHARED.replace(deny=[f"sha256:{identity.fingerprint()}"])


def test_a_new_policy_applies_to_open_connections(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0
        assert sink.take().resources()[0]["tenant.id"] == "acme"

        gate.write_config(SHARED.client("acme-edge", attributes={"tenant.id": "renamed"}))
        gate.wait_for_log("policy updated: 5 client rules")

        def tenant() -> str:
            assert send(connection).grpc_status == 0
            return sink.take().resources()[0]["tenant.id"]

        wait_until(lambda: tenant() == "renamed", "the new policy applies")

        gate.update_policy(denying(acme))
        assert "denied" in send_until(connection, 7).grpc_message

        gate.update_policy(SHARED)
        send_until(connection, 0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (SHARED.client("acme-edge", atributes={}), "atributes"),
        (SHARED.client("acme-edge", quota="fewer"), "fewer"),
        ("clients: [", "otlp-gate.yaml"),
        ("", "otlp-gate.yaml"),
    ],
    ids=["an unknown key", "an unknown tier", "no YAML", "an empty file"],
)
def test_an_invalid_config_is_logged_and_changes_nothing(
    start: Callable[..., Gate], acme: Identity, sink: Sink, bad: Config | str, words: str
) -> None:
    gate = start().ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0

        gate.write_config(bad)
        gate.wait_for_log("the previous policy stays in use")
        assert words in "\n".join(gate.log)
        assert send(connection).grpc_status == 0

        gate.update_policy(denying(acme))
        send_until(connection, 7)


def test_removing_the_config_file_changes_nothing(start: Callable[..., Gate], acme: Identity, sink: Sink) -> None:
    gate = start().ready()
    gate.config.unlink()
    gate.wait_for_log("the previous policy stays in use")
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0


def test_a_new_policy_keeps_what_is_spent(start: Callable[..., Gate], certificates: Certificates, sink: Sink) -> None:
    identity = certificates.client("few-reload", "--spiffe", "spiffe://few.example/reload")
    gate = start().ready()
    with Http2(gate.grpc, identity) as connection:
        assert connection.grpc(TRACES, frame(traces(*"a" * BURST))).grpc_status == 0
        assert connection.grpc(TRACES, frame(traces(*"a" * (BURST // 2)))).grpc_status == 8

        gate.update_policy(SHARED.replace(headers={"X-New": "new"}))
        assert connection.grpc(TRACES, frame(traces(*"a" * (BURST // 2)))).grpc_status == 8


def test_new_certificates_are_used_without_a_restart(
    start: Callable[..., Gate],
    tmp_path: Path,
    certificates: Certificates,
    acme: Identity,
    foreign: Identity,
    sink: Sink,
) -> None:
    certificates = certificates.copy(tmp_path / "certs")
    folder = certificates.folder
    gate = start(SHARED, certs=folder).ready()
    with Http2(gate.grpc, acme) as open_connection:
        assert send(open_connection).grpc_status == 0
        with pytest.raises((ssl.SSLError, ConnectionError)):
            send(Http2(gate.grpc, foreign))

        # A second client CA, at first without its revocation list.
        other_ca = foreign.certificate.parent.parent
        with (folder / "client-ca.crt").open("a") as file:
            file.write((other_ca / "client-ca.crt").read_text())
        gate.wait_for_log("the previous certificates stay in use")
        assert "no revocation list of" in "\n".join(gate.log)
        with (folder / "client.crl").open("a") as file:
            file.write((other_ca / "client.crl").read_text())
        gate.wait_for_log("certificates updated")
        with Http2(gate.grpc, foreign) as connection:
            assert send(connection).grpc_status == 0

        # A renewed server certificate.
        before = ssl.PEM_cert_to_DER_cert((folder / "server.crt").read_text())
        certificates.run("renew", "server", "--new-key")
        gate.wait_for_log("certificates updated")
        with Http2(gate.grpc, acme) as connection:
            assert connection.socket.getpeercert(binary_form=True) != before
            assert send(connection).grpc_status == 0

        # A server key that does not belong to the certificate.
        (folder / "server.key").write_text(acme.key.read_text())
        gate.wait_for_log("the previous certificates stay in use")
        assert "is not the key of" in "\n".join(gate.log)
        with Http2(gate.grpc, acme) as connection:
            assert send(connection).grpc_status == 0
        assert send(open_connection).grpc_status == 0


def test_a_revoked_certificate_is_rejected_on_new_connections(
    start: Callable[..., Gate], tmp_path: Path, certificates: Certificates, acme: Identity, sink: Sink
) -> None:
    certificates = certificates.copy(tmp_path / "certs")
    revoked = certificates.client("revoked", "--spiffe", "spiffe://acme.example/edge/revoked")
    gate = start(SHARED, certs=certificates.folder).ready()
    with Http2(gate.grpc, revoked) as connection:
        assert send(connection).grpc_status == 0

    certificates.run("revoke", "revoked")
    gate.wait_for_log("certificates updated")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        send(Http2(gate.grpc, revoked))
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0


@pytest.mark.parametrize(
    "key", ["rsa:1024", "rsa:2048"], ids=["of a kind that Envoy rejects", "of another certificate"]
)
def test_a_revocation_applies_although_the_new_server_key_is_unusable(
    start: Callable[..., Gate], tmp_path: Path, certificates: Certificates, acme: Identity, sink: Sink, key: str
) -> None:
    folder, beside = (certificates.copy(tmp_path / name).folder for name in ("certs", "beside"))
    Certificates(beside, certificates.config).run("revoke", "--cert", str(acme.certificate))
    file = "server.key" if key == "rsa:1024" else "another.key"
    unusable = f"req -x509 -newkey {key} -nodes -subj /CN=localhost -keyout {file} -out server.crt"
    openssl(*unusable.split(), cwd=beside)
    gate = start(SHARED, certs=folder).ready()
    with Http2(gate.grpc, acme) as connection:
        assert send(connection).grpc_status == 0

    for name in ["client.crl", "server.key", "server.crt"]:
        shutil.copy(beside / name, folder / name)
    gate.wait_for_log("the previous certificates stay in use")
    wait_until(lambda: rejected(gate, acme), "the revoked client is rejected")

    for name in ["server.key", "server.crt"]:
        shutil.copy(acme.ca.parent / name, folder / name)
    gate.wait_for_log("certificates updated")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        send(Http2(gate.grpc, acme))


def rejected(gate: Gate, identity: Identity) -> bool:
    """Whether a new connection or a request on it is rejected."""
    try:
        with Http2(gate.grpc, identity) as connection:
            return send(connection).grpc_status != 0
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_revoked_client_is_rejected_with_every_certificate_that_was_issued_to_it(
    start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink
) -> None:
    certificates = Certificates(tmp_path / "certs", config).init()
    name = ("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    current = certificates.client(*name)
    other = certificates.client("stays", "--spiffe", "spiffe://acme.example/edge/2")
    first = current.copy(tmp_path / "first")
    certificates.run("renew", "acme-edge")
    renewed = current.copy(tmp_path / "renewed")
    certificates.run("client", *name, "--force", "--unchecked")
    gate = start(SHARED, certs=certificates.folder).ready()
    assert not any(rejected(gate, identity) for identity in (first, renewed, current, other))

    certificates.run("revoke", "acme-edge", "--earlier")
    gate.wait_for_log("certificates updated")
    assert rejected(gate, first) and rejected(gate, renewed)
    assert not rejected(gate, current)
    certificates.run("revoke", "acme-edge")
    gate.wait_for_log("certificates updated")
    assert all(rejected(gate, identity) for identity in (first, renewed, current))
    assert not rejected(gate, other)


def test_a_revocation_list_from_the_future_is_not_used_before_its_time(
    start: Callable[..., Gate], tmp_path: Path, config: Path, sink: Sink
) -> None:
    certificates = Certificates(tmp_path / "certs", config).init()
    identity = certificates.client("acme-edge", "--spiffe", "spiffe://acme.example/edge/1")
    gate = start(SHARED, certs=certificates.folder).ready()

    (tmp_path / "index").write_text("")
    (tmp_path / "number").write_text("1000")
    (tmp_path / "ca.cnf").write_text("[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n")

    def at(seconds: int) -> str:
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))

    ca = certificates.folder / "client-ca"
    signed_by = ("-config", "ca.cnf", "-cert", f"{ca}.crt", "-keyfile", f"{ca}.key")
    times = ("-crl_lastupdate", at(10), "-crl_nextupdate", at(864_000))
    openssl("ca", "-gencrl", *signed_by, *times, "-out", "new.crl", cwd=tmp_path)
    (tmp_path / "new.crl").replace(certificates.folder / "client.crl")
    gate.wait_for_log("the previous certificates stay in use")
    assert "is dated in the future" in "\n".join(gate.log)
    assert not rejected(gate, identity)
    # The list is used when its time has come.
    gate.wait_for_log("certificates updated")
    assert not rejected(gate, identity)

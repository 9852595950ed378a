"""Makes the certificates beside this file, and prints what another implementation reads in them.

Needs `cryptography` (`pip install cryptography`). The constants in ../certificate.rs are its output.
"""

import datetime
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

FOLDER = Path(__file__).parent


def at(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def make(file: str, prefix: str, key, serial: int, not_after: int) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edge")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
    )
    builder = builder.not_valid_before(at(1_795_000_000)).not_valid_after(at(not_after))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://acme.example/edge/1")]), False
    )
    certificate = builder.sign(key, hashes.SHA256())
    (FOLDER / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest()
    for what, value in [("SERIAL", f"{serial:x}"), ("KEY", hashlib.sha256(public).hexdigest()), ("SIGNED", signed)]:
        print(f'const {prefix}_{what}: &str = "{value}";')


make(
    "p256.pem", "EC", ec.generate_private_key(ec.SECP256R1()), 0x8F3A_0000_0000_0000_0000_0000_0000_0001, 2_110_000_000
)
make("rsa.pem", "RSA", rsa.generate_private_key(65537, 2048), 0x7B, 2_556_144_000)

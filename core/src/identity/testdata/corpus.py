"""Makes corpus.jsonl: certificates, and what Python's cryptography and OpenSSL read in them, one JSON object a line.

Needs `openssl`, and `cryptography` and `cryptography-vectors` of the same version (`pip install`). The certificates are
those of cryptography's own tests, and others that are made here of hand-written DER: as the CAs of clients make them,
and with what parsers disagree about. `--all PATH` adds NIST's PKITS and the files of `--folder`, and writes to PATH.
`OTLP_GATE_CORPUS=PATH cargo test -p otlp-gate-core corpus` then reports what is read in another way.
"""

import argparse
import base64
import contextlib
import datetime
import hashlib
import ipaddress
import json
import re
import subprocess
import warnings
from pathlib import Path

import cryptography_vectors
from cryptography import x509
from cryptography.x509 import extensions as ext

FOLDER = Path(__file__).parent
VECTORS = Path(cryptography_vectors.__file__).parent / "x509"

# --- DER ---


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def seq(*contents: bytes) -> bytes:
    return tlv(0x30, *contents)


def octets_of(number: int) -> bytes:
    """The fewest bytes of two's complement."""
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)


def integer(number: int) -> bytes:
    return tlv(2, octets_of(number))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in [first * 40 + second, *rest]:
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | arc & 0x7F)
        out += bytes(reversed(octets))
    return tlv(6, out)


UTF8, NUMERIC, PRINTABLE, T61, IA5, UTC, VISIBLE, UNIVERSAL, BMP = 12, 18, 19, 20, 22, 23, 26, 28, 30
CN, O, OU, C, EMAIL = "2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6", "1.2.840.113549.1.9.1"  # noqa: E741


def rdn(*attributes: tuple[str, int, bytes | str]) -> bytes:
    pairs = [
        seq(oid(key), tlv(tag, value.encode() if isinstance(value, str) else value)) for key, tag, value in attributes
    ]
    return tlv(0x31, *sorted(pairs))


def name(*rdns: bytes) -> bytes:
    return seq(*rdns)


def extension(dotted: str, value: bytes, critical: bool = False, explicit: bool = False) -> bytes:
    flag = tlv(1, b"\xff") if critical else tlv(1, b"\0") if explicit else b""
    return seq(oid(dotted), flag, tlv(4, value))


def san(*names: bytes, critical: bool = False) -> bytes:
    return extension("2.5.29.17", seq(*names), critical)


def mail(text: str | bytes) -> bytes:
    return tlv(0x81, text.encode() if isinstance(text, str) else text)


def dns(text: str | bytes) -> bytes:
    return tlv(0x82, text.encode() if isinstance(text, str) else text)


def uri(text: str | bytes) -> bytes:
    return tlv(0x86, text.encode() if isinstance(text, str) else text)


def ip(text: str) -> bytes:
    return tlv(0x87, ipaddress.ip_address(text).packed)


def other_name(dotted: str, value: bytes) -> bytes:
    return tlv(0xA0, oid(dotted), tlv(0xA0, value))


CLIENT = "1.3.6.1.5.5.7.3.2"
SERVER = "1.3.6.1.5.5.7.3.1"


def eku(*usages: str, critical: bool = False) -> bytes:
    return extension("2.5.29.37", seq(*map(oid, usages)), critical)


def key_id(digest: bytes) -> bytes:
    return extension("2.5.29.35", seq(tlv(0x80, digest)))


def key_usage(bits: bytes) -> bytes:
    return extension("2.5.29.15", tlv(3, bits), critical=True)


def constraints(*fields: bytes) -> bytes:
    return extension("2.5.29.19", seq(*fields), critical=True)


TRUE, FALSE = tlv(1, b"\xff"), tlv(1, b"\0")
ECDSA_SHA256 = seq(oid("1.2.840.10045.4.3.2"))
# The base point of P-256 as a public key. No parser here verifies a signature.
POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
KEY = seq(seq(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), tlv(3, b"\0", POINT))
SIGNATURE = tlv(3, b"\0", seq(integer(2**250 + 7), integer(2**251 + 9)))
FROM, TO = tlv(UTC, b"261101000000Z"), tlv(UTC, b"361101000000Z")
EDGE = name(rdn((CN, UTF8, "edge")))
ISSUER = name(rdn((O, UTF8, "Acme")), rdn((CN, UTF8, "Acme Issuing CA")))


def certificate(
    *extensions: bytes,
    subject: bytes = EDGE,
    issuer: bytes = ISSUER,
    serial: bytes = integer(0x1234),
    version: bytes | None = integer(2),
    validity: bytes = seq(FROM, TO),
    unique_ids: bytes = b"",
    after: bytes = b"",
    inner: bytes = ECDSA_SHA256,
    outer: bytes = ECDSA_SHA256,
    signature: bytes = SIGNATURE,
) -> bytes:
    wrapped = tlv(0xA3, seq(*extensions)) if extensions else b""
    head = tlv(0xA0, version) if version else b""
    tbs = seq(head, serial, inner, issuer, validity, subject, KEY, unique_ids, wrapped, after)
    return seq(tbs, outer, signature)


def time(tag: int, text: str) -> bytes:
    return tlv(tag, text.encode())


def of_cas() -> dict[str, bytes]:
    """Clients' certificates as these CAs make them by default."""
    digest = bytes(range(20))
    leaf = [key_usage(b"\x07\x80"), eku(CLIENT), constraints(), key_id(digest)]
    both = [key_usage(b"\x03\xa8"), eku(SERVER, CLIENT, critical=False), constraints(), key_id(digest)]
    country = rdn((C, PRINTABLE, "US"))
    return {
        "spire": certificate(
            *both,
            san(uri("spiffe://example.org/ns/default/sa/otel")),
            subject=name(country, rdn((O, UTF8, "SPIRE")), rdn(("2.5.4.45", UTF8, "8f" * 16))),
            issuer=name(country, rdn((O, UTF8, "SPIFFE"))),
            serial=integer(int.from_bytes(bytes(range(1, 17)), "big")),
        ),
        "istio": certificate(
            *both, san(uri("spiffe://cluster.local/ns/shop/sa/otel-agent"), critical=True), subject=name()
        ),
        "step-ca": certificate(
            key_usage(b"\x07\x80"),
            eku(SERVER, CLIENT),
            key_id(digest),
            san(dns("edge-7.acme.example"), dns("Edge-7"), ip("192.0.2.7"), mail("Ops@Acme.Example")),
            extension("1.3.6.1.4.1.37476.9000.64.1", seq(integer(1), tlv(4, b"acme"), tlv(4, b"kid"))),
        ),
        "cert-manager": certificate(*leaf, san(dns("agent.shop.svc"), uri("spiffe://shop/agent")), subject=name()),
        "vault": certificate(
            *both, extension("2.5.29.14", tlv(4, digest)), san(dns("edge.acme.example"), ip("2001:db8::7"))
        ),
        "aws-private-ca": certificate(
            *leaf, subject=name(country, rdn((O, PRINTABLE, "Acme")), rdn((OU, PRINTABLE, "edge"), (CN, UTF8, "e-7")))
        ),
        "active-directory": certificate(
            eku(CLIENT, "1.3.6.1.4.1.311.20.2.2"),
            san(other_name("1.3.6.1.4.1.311.20.2.3", tlv(UTF8, b"edge@ad.acme.example")), mail("edge@ad.acme.example")),
            extension("1.3.6.1.4.1.311.20.2", tlv(BMP, "User".encode("utf-16-be"))),
            extension("1.3.6.1.4.1.311.21.10", seq(seq(oid(CLIENT)))),
            subject=name(
                rdn(("0.9.2342.19200300.100.1.25", IA5, "example")),
                rdn(("0.9.2342.19200300.100.1.25", IA5, "acme")),
                rdn((CN, UTF8, "Users")),
                rdn((CN, UTF8, "Edge, 7")),
            ),
        ),
        "kubernetes": certificate(
            *leaf, subject=name(rdn((O, UTF8, "system:nodes")), rdn((CN, UTF8, "system:node:worker-1")))
        ),
    }


def odd() -> dict[str, bytes]:
    """Certificates that are valid, or nearly so."""
    subject = lambda *attributes: certificate(subject=name(*[rdn(one) for one in attributes]))
    return {
        "version 1": certificate(version=None),
        "version 2 with unique identifiers": certificate(
            version=integer(1), unique_ids=tlv(0x81, b"\0\1") + tlv(0x82, b"\0\2")
        ),
        "version 1 that is written": certificate(version=integer(0)),
        "version 4": certificate(version=integer(3)),
        "version 1 with extensions": certificate(eku(CLIENT), version=None),
        "version 1 with unique identifiers": certificate(version=None, unique_ids=tlv(0x81, b"\0\1")),
        "no extensions in their sequence": certificate(after=tlv(0xA3, seq())),
        "empty subject and no names": certificate(subject=name()),
        "empty SAN": certificate(san()),
        "serial 0": certificate(serial=integer(0)),
        "serial 255": certificate(serial=integer(255)),
        "serial -1": certificate(serial=integer(-1)),
        "serial -32768": certificate(serial=integer(-32768)),
        "serial of 20 bytes": certificate(serial=integer(2**159 - 1)),
        "serial of 32 bytes": certificate(serial=integer(2**255 - 1)),
        "serial of 33 bytes": certificate(serial=integer(2**263 - 1)),
        "serial with a superfluous zero": certificate(serial=tlv(2, b"\0\x01")),
        "serial with a superfluous sign": certificate(serial=tlv(2, b"\xff\x80")),
        "serial without bytes": certificate(serial=tlv(2)),
        "UTF8String": subject((CN, UTF8, "Zoë €")),
        "UTF8String that is Latin-1": subject((CN, UTF8, b"Zo\xeb")),
        "UTF8String with a surrogate": subject((CN, UTF8, b"a\xed\xa0\x80")),
        "UTF8String with NUL": subject((CN, UTF8, "acme\0.example")),
        "UTF8String with a line break": subject((CN, UTF8, "acme\nO=other")),
        "UTF8String that needs escapes": subject((CN, UTF8, ' #a,b+c"d\\e<f>g;h=i '), (O, UTF8, "#x")),
        "UTF8String with direction marks": subject((CN, UTF8, "acme\u202e\u2066")),
        "PrintableString": subject((CN, PRINTABLE, "edge 7")),
        "PrintableString with UTF-8": subject((CN, PRINTABLE, "Zoë")),
        "PrintableString with Latin-1": subject((CN, PRINTABLE, b"Zo\xeb")),
        "PrintableString with an asterisk": subject((CN, PRINTABLE, "*.acme")),
        "IA5String": subject((EMAIL, IA5, "ops@acme.example")),
        "IA5String with Latin-1": subject((EMAIL, IA5, b"ops\xe9@acme.example")),
        "NumericString": subject(("2.5.4.5", NUMERIC, "12 34")),
        "VisibleString": subject((CN, VISIBLE, "edge")),
        "T61String": subject((CN, T61, "edge")),
        "T61String with Latin-1": subject((CN, T61, b"M\xfcnchen")),
        "T61String with UTF-8": subject((CN, T61, "München")),
        "BMPString": subject((CN, BMP, "Zoë €".encode("utf-16-be"))),
        "BMPString with surrogates": subject((CN, BMP, "😀".encode("utf-16-be"))),
        "BMPString of an odd length": subject((CN, BMP, b"\0a\0")),
        "UniversalString": subject((CN, UNIVERSAL, "a😀".encode("utf-32-be"))),
        "UniversalString beyond Unicode": subject((CN, UNIVERSAL, b"\0\x11\0\0")),
        "UniversalString of an odd length": subject((CN, UNIVERSAL, b"\0\0\0a\0")),
        "UTCTime as a name": subject((CN, UTC, "261101000000Z")),
        "BIT STRING as a name": subject((CN, 3, b"\0\x05"), (O, UTF8, "x")),
        "BIT STRING as x500UniqueIdentifier": subject(("2.5.4.45", 3, b"\0\x05"), (O, UTF8, "x")),
        "INTEGER as a name": subject((CN, 2, b"\x05"), (O, UTF8, "x")),
        "constructed UTF8String": subject((CN, 0x2C, tlv(UTF8, b"a"))),
        "an empty string": subject((CN, UTF8, ""), (O, UTF8, "x")),
        "an unknown key": subject(("1.2.3.4", UTF8, "x"), ("2.999.70000", PRINTABLE, "y"), ("1.2.3.5", BMP, b"\0z")),
        "a key with a UUID": subject(("2.25.329800735698586629295641978511506172918", UTF8, "x")),
        "a key with an arc of 2^128": subject((f"2.25.{2**128}", UTF8, "x")),
        "keys of both ends": subject(
            ("0.39.1", UTF8, "a"), ("1.39.1", UTF8, "b"), ("2.47.1", UTF8, "c"), ("2.48", UTF8, "d")
        ),
        "a key several times": subject((OU, UTF8, "a"), (OU, UTF8, "b"), (OU, UTF8, "a")),
        "RDNs of several attributes": certificate(
            subject=name(rdn((O, UTF8, "x")), rdn((CN, UTF8, "a"), (OU, UTF8, "b"), ("2.5.4.5", PRINTABLE, "7")))
        ),
        "an RDN without attributes": certificate(subject=name(tlv(0x31))),
        "an attribute without value": certificate(subject=name(tlv(0x31, seq(oid(CN))))),
        "an attribute with two values": certificate(
            subject=name(tlv(0x31, seq(oid(CN), tlv(UTF8, b"a"), tlv(UTF8, b"b"))))
        ),
        "a subject of 9,000 bytes": subject((CN, UTF8, "x" * 9000), (O, UTF8, "y")),
        "a key that is not minimal": certificate(
            subject=name(tlv(0x31, seq(tlv(6, b"\x55\x80\x04\x03"), tlv(UTF8, b"a"))))
        ),
        "a key that does not end": certificate(subject=name(tlv(0x31, seq(tlv(6, b"\x55\x04\x83"), tlv(UTF8, b"a"))))),
        "an empty key": certificate(subject=name(tlv(0x31, seq(tlv(6), tlv(UTF8, b"a"))))),
        "all kinds of names": certificate(
            san(
                other_name("1.2.3", tlv(UTF8, b"x")),
                mail("a@b.example"),
                dns("b.example"),
                tlv(0xA4, name(rdn((CN, UTF8, "directory")))),
                uri("urn:x"),
                ip("192.0.2.1"),
                ip("2001:db8::1"),
                tlv(0x88, b"\x2a\x03"),
                uri("spiffe://a/b"),
                dns("*.C.example"),
            )
        ),
        "an IPv4 address in IPv6": certificate(san(ip("::ffff:192.0.2.1"))),
        "an address of 5 bytes": certificate(san(tlv(0x87, b"\1\2\3\4\5"))),
        "an address of 8 bytes": certificate(san(tlv(0x87, b"\1\2\3\4\xff\xff\0\0"))),
        "an address of 0 bytes": certificate(san(tlv(0x87))),
        "a DNS name with NUL": certificate(san(dns(b"acme.example\0.evil.example"), dns("b.example"))),
        "a DNS name in UTF-8": certificate(san(dns("zoë.example"), dns("b.example"))),
        "an empty DNS name": certificate(san(dns(""), dns("b.example"))),
        "a DNS name with a dot at its end": certificate(san(dns("A.example."))),
        "a URI with NUL": certificate(san(uri(b"spiffe://a\0/b"), uri("spiffe://c/d"))),
        "a URI in UTF-8": certificate(san(uri("spiffe://zoë/b"), uri("spiffe://c/d"))),
        "a URI with a line break": certificate(san(uri("spiffe://a/b\n"), uri("spiffe://c/d"))),
        "an e-mail address in UTF-8": certificate(san(mail("zoë@a.example"), mail("Zoe@A.example"))),
        "e-mail addresses": certificate(san(mail("A.B@C.Example"), mail("C.Example"), mail('"a@b"@C.Example'))),
        "256 names": certificate(san(*[dns(f"n{number}.example") for number in range(256)])),
        "257 names": certificate(san(*[dns(f"n{number}.example") for number in range(257)])),
        "a name with an unknown tag": certificate(san(tlv(0x89, b"x"))),
        "a name of another class": certificate(san(tlv(UTF8, b"x"))),
        "a constructed URI": certificate(san(tlv(0xA6, b"spiffe://a/b"))),
        "bytes after the names": certificate(extension("2.5.29.17", seq(dns("a.example")) + b"\0")),
        "a SAN twice": certificate(san(dns("a.example")), san(dns("b.example"))),
        "an unknown extension twice": certificate(extension("1.2.3.4", b"a"), extension("1.2.3.4", b"b")),
        "an unknown critical extension": certificate(extension("1.2.3.4", b"a", critical=True), san(dns("a.example"))),
        "critical FALSE that is written": certificate(extension("1.2.3.4", b"a", explicit=True), san(dns("a.example"))),
        "critical of another value": certificate(seq(oid("1.2.3.4"), tlv(1, b"\1"), tlv(4, b"a"))),
        "64 extensions": certificate(*[extension(f"1.2.3.{number}", b"") for number in range(64)]),
        "65 extensions": certificate(*[extension(f"1.2.3.{number}", b"") for number in range(65)]),
        "an empty EKU": certificate(eku()),
        "an EKU of any usage": certificate(eku("2.5.29.37.0", "2.999.1")),
        "an EKU with the same usage twice": certificate(eku(CLIENT, CLIENT)),
        "an EKU with another type": certificate(extension("2.5.29.37", seq(tlv(UTF8, b"clientAuth")))),
        "an AKI without key": certificate(
            extension("2.5.29.35", seq(tlv(0xA1, tlv(0xA4, ISSUER)), tlv(0x82, b"\x05")))
        ),
        "an AKI with all": certificate(
            extension("2.5.29.35", seq(tlv(0x80, b"kid"), tlv(0xA1, tlv(0xA4, ISSUER)), tlv(0x82, b"\x05")))
        ),
        "an empty AKI": certificate(extension("2.5.29.35", seq())),
        "a CA": certificate(constraints(TRUE, integer(0)), key_usage(b"\x01\x06")),
        "a CA without limit": certificate(constraints(TRUE)),
        "a CA whose key cannot sign": certificate(constraints(TRUE), key_usage(b"\x07\x80")),
        "cA FALSE that is written": certificate(constraints(FALSE)),
        "a negative path length": certificate(constraints(TRUE, integer(-1))),
        "GeneralizedTime": certificate(validity=seq(FROM, time(24, "99991231235959Z"))),
        "GeneralizedTime before 2050": certificate(validity=seq(time(24, "20261101000000Z"), TO)),
        "GeneralizedTime with fractions": certificate(validity=seq(FROM, time(24, "20361101000000.5Z"))),
        "UTCTime without seconds": certificate(validity=seq(FROM, time(UTC, "3611010000Z"))),
        "UTCTime with an offset": certificate(validity=seq(FROM, time(UTC, "361101000000+0100"))),
        "UTCTime of 1950": certificate(validity=seq(time(UTC, "500101000000Z"), TO)),
        "February 29th": certificate(validity=seq(time(UTC, "280229000000Z"), TO)),
        "February 30th": certificate(validity=seq(time(UTC, "280230000000Z"), TO)),
        "a leap second": certificate(validity=seq(time(UTC, "261231235960Z"), TO)),
        "the year 0": certificate(validity=seq(time(24, "00000101000000Z"), TO)),
        "an end before its start": certificate(validity=seq(TO, FROM)),
        "a third time": certificate(validity=seq(FROM, TO, TO)),
        "another algorithm inside": certificate(inner=seq(oid("1.2.840.10045.4.3.3"))),
        "a signature with unused bits": certificate(signature=tlv(3, b"\4\x10")),
        "an empty signature": certificate(signature=tlv(3)),
        "bytes after the fields": certificate(after=b"\5\0"),
        "bytes after the certificate": certificate() + b"\0",
        "an indefinite length": b"\x30\x80" + certificate()[4:] + b"\0\0",
        "a length that is not minimal": b"\x30\x83\0" + certificate()[2:],
        "a length beyond the end": b"\x30\x84\x7f\xff\xff\xff" + certificate()[4:],
        "not a certificate": seq(seq(), seq(), tlv(3, b"\0")),
        "nothing": b"",
    }


def of_vectors() -> dict[str, bytes]:
    """The certificates of cryptography's tests, the first of each file."""
    found = {}
    for file in sorted([*VECTORS.glob("*"), *VECTORS.glob("custom/*"), *VECTORS.glob("ed*/*")]):
        if file.suffix in (".pem", ".der") and (der := of_file(file)):
            found[f"vectors/{file.relative_to(VECTORS)}"] = der
    return found


def of_file(file: Path) -> bytes | None:
    data = file.read_bytes()
    if b"-----BEGIN" in data:
        blocks = re.search(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", data, re.DOTALL)
        return base64.b64decode(blocks[1]) if blocks else None
    return None if "crl" in file.name or "ocsp" in file.name or "precert" in file.name else data


# --- What the others read ---


def openssl(der: bytes) -> dict | None:
    """Subject and issuer as OpenSSL writes them. Envoy's library, BoringSSL, is a fork of it."""
    args = ["openssl", "x509", "-inform", "DER", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253"]
    done = subprocess.run(args, input=der, capture_output=True, check=False)
    if done.returncode:
        return None
    subject, issuer = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n").split("\nissuer=")
    return {"subject": subject.removeprefix("subject="), "issuer": issuer}


def is_clean(text: str, limit: int = 8192) -> bool:
    return bool(text) and text.isascii() and len(text) <= limit and not re.search(r"[\0-\x1f\x7f-\x9f]", text)


def value(attribute: x509.NameAttribute) -> str | None:
    ascii_only = attribute._type.name not in ("UTF8String", "BMPString", "UniversalString", "T61String")
    text = attribute.value
    if not isinstance(text, str) or (ascii_only and not text.isascii()):
        return None
    return None if re.search(r"[\0-\x1f\x7f-\x9f]", text) else text


def python(der: bytes) -> dict:
    certificate = x509.load_der_x509_certificate(der)
    names: dict[str, list[str]] = {"uris": [], "dns": [], "emails": [], "ips": []}
    usages, key, ca, path, sign = [], None, False, None, True
    for one in certificate.extensions:
        match one.value:
            case ext.SubjectAlternativeName():
                for san in one.value:
                    match san:
                        case x509.UniformResourceIdentifier():
                            names["uris"].append(san.value)
                        case x509.DNSName():
                            names["dns"].append(san.value.lower())
                        case x509.RFC822Name():
                            user, at, domain = san.value.rpartition("@")
                            names["emails"].append(user + at + domain.lower() if at else domain)
                        case x509.IPAddress():
                            names["ips"].append(san.value.packed.hex())
            case ext.ExtendedKeyUsage():
                usages = [usage.dotted_string for usage in one.value]
            case ext.AuthorityKeyIdentifier():
                key = one.value.key_identifier
            case ext.BasicConstraints():
                ca, path = one.value.ca, one.value.path_length
            case ext.KeyUsage():
                sign = one.value.key_cert_sign
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    seconds = lambda at: int((at - epoch).total_seconds())
    read = {kind: [name for name in all_ if is_clean(name)] for kind, all_ in names.items()}
    read |= {
        "serial": octets_of(certificate.serial_number).lstrip(b"\0").hex(),
        "notBefore": seconds(certificate.not_valid_before_utc),
        "notAfter": seconds(certificate.not_valid_after_utc),
        "usages": usages,
        "keyId": key.hex() if key is not None else None,
        "ca": ca and sign,
        "pathLength": path,
        "signed": hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest(),
    }
    with contextlib.suppress(ValueError):
        read["attributes"] = [[one.oid.dotted_string, value(one)] for one in certificate.subject]
    return read


def record(label: str, der: bytes) -> dict:
    read: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = python(der)
        except Exception as error:
            read = {"error": f"{type(error).__name__}: {error}"}
    texts = openssl(der)
    return {"name": label, "der": base64.b64encode(der).decode(), **read, "openssl": texts}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", type=Path)
    parser.add_argument("--folder", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    certificates = {**of_cas(), **odd(), **of_vectors()}
    if args.all:
        files = [*sorted(VECTORS.glob("PKITS_data/certs/*.crt"))]
        for folder in args.folder:
            files += [file for file in sorted(folder.rglob("*")) if file.suffix in (".der", ".crt", ".cer", ".pem")]
        certificates |= {str(file): der for file in files if (der := of_file(file))}
    target = args.all or FOLDER / "corpus.jsonl"
    lines = [json.dumps(record(label, der), ensure_ascii=True) for label, der in certificates.items()]
    target.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} certificates, {target.stat().st_size} bytes")


main()

"""The certificates of the measured connections."""

import subprocess


def make_certificates(out):
    """Creates a CA, a server and a client certificate with openssl, so that the benchmark does not need `otlp-gate`."""

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], cwd=out, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=bench", "-days", 2)
    for name, san in {"server": "DNS:localhost", "client": "URI:spiffe://bench.example/client"}.items():
        (out / "san").write_text(f"subjectAltName={san}")
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.crt",
            "-days",
            2,
            "-extfile",
            "san",
        )

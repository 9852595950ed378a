//! Why a TLS connection failed, in plain words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a client gets no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFailure {
    /// What is wrong, and on which side.
    pub(crate) message: String,
    /// What to do about it, if that is known.
    pub(crate) hint: Option<&'static str>,
}

impl TlsFailure {
    /// Reads the error of a handshake, or of the first read after it: in TLS 1.3 the server rejects a client's
    /// certificate only then.
    pub(super) fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let (message, hint) = match tls {
            Some(Error::InvalidCertificate(problem)) => {
                let (message, hint) = server(problem);
                (message, Some(hint))
            }
            Some(Error::AlertReceived(alert)) => alert_received(*alert),
            _ if error.kind() == io::ErrorKind::UnexpectedEof => (
                "the server closed the connection during the handshake".to_owned(),
                Some("check that the port is that of the gate: it may not be one for TLS"),
            ),
            _ => (error.to_string(), None),
        };
        TlsFailure { message, hint }
    }
}

/// What is wrong with the server's certificate.
fn server(problem: &CertificateError) -> (String, &'static str) {
    use CertificateError as Problem;
    let (what, hint) = match problem {
        Problem::Expired | Problem::ExpiredContext { .. } => {
            ("has expired".to_owned(), "renew it: `otlp-gate certs server`, then `otlp-gate apply`")
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "check the clocks of this machine and of the CA")
        }
        // A CA of the same name has another key.
        Problem::UnknownIssuer | Problem::BadSignature => (
            "is of another CA than those in the file of `--ca`".to_owned(),
            "pass the certificate of the CA for servers, such as `certs/server-ca.crt`",
        ),
        Problem::NotValidForName => ("is for another name".to_owned(), "set `--server-name`"),
        Problem::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            (
                format!("is for {presented}, not for {}", expected.to_str()),
                "set `--server-name` to a name that it has",
            )
        }
        other => (format!("is not valid: {other}"), "issue another one: `otlp-gate certs server`"),
    };
    (format!("the server's certificate {what}"), hint)
}

/// Why the server ended the handshake (RFC 8446, section 6.2).
fn alert_received(alert: AlertDescription) -> (String, Option<&'static str>) {
    use AlertDescription as Alert;
    let (what, hint) = match alert {
        Alert::CertificateExpired => ("it has expired", "renew it: `otlp-gate certs client`"),
        Alert::UnknownCA => ("no CA that it trusts issued it", "send a certificate of one of the gate's CAs"),
        Alert::CertificateRevoked => ("its CA has revoked it", "issue another one: `otlp-gate certs client`"),
        Alert::CertificateRequired => ("there is none", "send a client certificate"),
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            ("it is not valid for a client", "`otlp-gate whoami CERT` shows its usage and its kind of key")
        }
        Alert::HandshakeFailure => (
            "it does not verify its kind of key or signature, or there is none",
            "use ECDSA P-256 or P-384, or RSA of 2048 bits or more",
        ),
        other => return (format!("the server ended the handshake with the alert {other:?}"), None),
    };
    (format!("the gate rejects the client's certificate: {what}"), Some(hint))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    fn message(error: Error) -> String {
        TlsFailure::of(&io::Error::other(error)).message
    }

    #[test]
    fn failures_say_whose_certificate_is_wrong() {
        let expected = ServerName::try_from("otel.example.com").unwrap();
        let presented = vec!["localhost".to_owned()];
        for (problem, text) in [
            (CertificateError::Expired, "the server's certificate has expired"),
            (
                CertificateError::UnknownIssuer,
                "the server's certificate is of another CA than those in the file of `--ca`",
            ),
            (
                CertificateError::BadSignature,
                "the server's certificate is of another CA than those in the file of `--ca`",
            ),
            (
                CertificateError::NotValidForNameContext { expected, presented },
                "the server's certificate is for localhost, not for otel.example.com",
            ),
        ] {
            assert_eq!(message(Error::InvalidCertificate(problem)), text);
        }
        assert_eq!(
            message(Error::AlertReceived(AlertDescription::UnknownCA)),
            "the gate rejects the client's certificate: no CA that it trusts issued it"
        );
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(TlsFailure::of(&refused), TlsFailure { message: refused.to_string(), hint: None });
    }
}

//! The client certificates that `otlp-gate verify` presents: one that the gate accepts, and some that it must reject.

use otlp_gate_core::policy::VERIFY_URI;

use super::{CertificateId, Files, Folder, Request, Validity};
use crate::error::Error;
use crate::file::Existing;
use crate::x509::Role;

/// Longer than any CA is valid: the certificates expire with their CA.
const DAYS: u32 = 36500;

/// A client certificate that `otlp-gate verify` presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestClient {
    /// Matches the rule that every policy has for `otlp-gate verify`.
    Valid,
    /// Matches no rule.
    Unknown,
    /// As [`TestClient::Valid`], and expired.
    Expired,
    /// As [`TestClient::Valid`], and revoked.
    Revoked,
}

impl TestClient {
    /// All test clients.
    pub(crate) const ALL: [TestClient; 4] =
        [TestClient::Valid, TestClient::Unknown, TestClient::Expired, TestClient::Revoked];

    /// The name of its files.
    fn name(self) -> &'static str {
        match self {
            TestClient::Valid => "client",
            TestClient::Unknown => "stranger",
            TestClient::Expired => "expired",
            TestClient::Revoked => "revoked",
        }
    }

    /// The contents of the certificate.
    pub(crate) fn request(self) -> Request {
        let uri = match self {
            TestClient::Unknown => "spiffe://otlp-gate/stranger",
            _ => VERIFY_URI,
        };
        Request {
            role: Role::Client,
            subject: vec![("CN".to_owned(), format!("otlp-gate verify {}", self.name()))],
            uris: vec![uri.to_owned()],
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            validity: if self == TestClient::Expired { Validity::Expired } else { Validity::Days(DAYS) },
        }
    }
}

impl Folder {
    /// The files of a test client.
    pub(crate) fn test_client_files(&self, client: TestClient) -> Files {
        self.files(&format!("verify/{}", client.name()))
    }

    /// Issues the certificates of all test clients, and revokes that of [`TestClient::Revoked`].
    pub(crate) fn create_test_clients(&self, existing: Existing) -> Result<(), Error> {
        for client in TestClient::ALL {
            let files = self.test_client_files(client);
            let certificate = self.issue(&files, &client.request(), existing, |_| Ok(()))?;
            if client == TestClient::Revoked {
                let authority = self.authority(Role::Client)?;
                self.revoke(&[CertificateId::of(&certificate, authority.certificate())].into())?;
            }
        }
        Ok(())
    }
}

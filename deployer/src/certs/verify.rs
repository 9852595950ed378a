//! The certificates with which `otlp-gate verify` tries a gate: one that is let in, and some that are not.

use otlp_gate_core::policy::VERIFY_URI;

use super::{Files, Folder, Request, Role, Validity};
use crate::error::Error;
use crate::file::Existing;

/// Longer than any CA lives: they are harmless, and end with it.
const DAYS: u32 = 36500;

/// A certificate to try a gate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The reserved client's.
    Client,
    /// No client's, though the CA issued it.
    Stranger,
    /// The reserved client's, had it not expired.
    Expired,
    /// The reserved client's, were it not revoked.
    Revoked,
}

impl Trial {
    /// All of them.
    pub const ALL: [Trial; 4] = [Trial::Client, Trial::Stranger, Trial::Expired, Trial::Revoked];

    fn name(self) -> &'static str {
        match self {
            Trial::Client => "client",
            Trial::Stranger => "stranger",
            Trial::Expired => "expired",
            Trial::Revoked => "revoked",
        }
    }

    /// What it says.
    pub fn request(self) -> Request {
        let uri = match self {
            Trial::Stranger => "spiffe://otlp-gate/stranger",
            _ => VERIFY_URI,
        };
        Request {
            role: Role::Client,
            subject: vec![("CN".to_owned(), format!("otlp-gate verify {}", self.name()))],
            uris: vec![uri.to_owned()],
            dns: Vec::new(),
            ips: Vec::new(),
            validity: if self == Trial::Expired { Validity::Over } else { Validity::Days(DAYS) },
        }
    }
}

impl Folder {
    /// Where this certificate is.
    pub fn trial_files(&self, trial: Trial) -> Files {
        self.files(&format!("verify/{}", trial.name()))
    }

    /// Makes all of them, and revokes the one that is to be.
    pub fn make_trials(&self, existing: Existing) -> Result<(), Error> {
        for trial in Trial::ALL {
            let certificate = self.make(&self.trial_files(trial), &trial.request(), existing, |_| Ok(()))?;
            if trial == Trial::Revoked {
                let ca = self.authority(Role::Client)?.certificate().public_key_sha256_hex();
                self.revoke(&[(ca, certificate.serial_hex())].into())?;
            }
        }
        Ok(())
    }
}

//! The CAs of a folder.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::x509::Role;

/// A CA of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ca {
    /// Of the server's certificate.
    Server,
    /// Of the clients' certificates.
    Client,
    /// Of the connections from the gateway to the Collector, at both ends.
    Internal,
}

impl Ca {
    /// All CAs.
    pub(crate) const ALL: [Ca; 3] = [Ca::Server, Ca::Client, Ca::Internal];
}

/// The CA of the certificates that servers or clients of the gateway present.
impl From<Role> for Ca {
    fn from(role: Role) -> Self {
        match role {
            Role::Server => Ca::Server,
            Role::Client => Ca::Client,
        }
    }
}

impl fmt::Display for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ca::Server => "server",
            Ca::Client => "client",
            Ca::Internal => "internal",
        })
    }
}

//! The certificates of a gate and its clients: a folder with two CAs, the certificates that they issued and revoked, and
//! the record of both.
//!
//! **Architecture Invariant:** the server's and the clients' certificates come from different CAs, so that neither the
//! holder of a server's key nor the issuer of server certificates can act as a client. No key leaves the folder.

mod authority;
mod client_request;
mod folder;
mod inventory;
mod issue;
mod listener;
mod names;
mod pem;
mod record;
mod request;
mod revocable;
mod revocation_list;
mod revoke;
mod rotation;
mod setup;
mod test_client;
mod warnings;

pub use authority::Authority;
pub use client_request::ClientNames;
pub use folder::{Files, Folder};
pub use inventory::{Entry, Status};
pub use listener::ListenerTls;
pub use names::{Host, client_name, dns_name, host, spiffe_id};
pub use pem::certificates;
pub use record::{CertificateId, Event, Issued, Record, VERIFY_CLIENT};
pub use request::{BACKDATED, Request, Validity};
pub use revocable::Revocable;
pub use revocation_list::{RevocationList, RevokedCertificate, is_revoked};
pub use setup::{ClientAuthority, ServerCertificate, Setup};
pub use test_client::TestClient;

pub use crate::x509::Role;

#[cfg(test)]
mod tests;

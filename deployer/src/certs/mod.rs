//! The certificates of a gate and its clients: a folder with three CAs, the certificates that they issued and revoked,
//! and the record of both.
//!
//! **Architecture Invariant:** the server's, the clients' and the internal certificates come from different CAs, so that
//! neither the holder of a server's key nor the issuer of server certificates can act as a client, and no client can
//! connect to the Collector. No CA's key leaves the folder.

mod authority;
mod ca;
mod client_request;
mod folder;
mod internal;
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
mod trust;
mod warnings;

pub(crate) use authority::Authority;
pub(crate) use ca::Ca;
pub(crate) use client_request::ClientNames;
pub(crate) use folder::{Files, Folder};
pub(crate) use internal::{InternalCertificate, InternalServer, InternalTls};
pub(crate) use inventory::{Entry, Status};
pub(crate) use listener::ListenerTls;
pub(crate) use names::{Host, client_name, dns_name, host, spiffe_id};
pub(crate) use pem::{certificate_pem, certificates};
pub(crate) use record::{CertificateId, Issued, Record, VERIFY_CLIENT};
pub(crate) use request::{BACKDATED, Request, Validity};
pub(crate) use revocable::Revocable;
pub(crate) use revocation_list::{RevocationList, is_revoked};
pub(crate) use setup::{ClientAuthority, ServerCertificate, Setup};
pub(crate) use test_client::TestClient;
pub(crate) use trust::ClientTrust;

pub(crate) use crate::x509::Role;

#[cfg(test)]
mod tests;

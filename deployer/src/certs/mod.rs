//! The certificates of a gate and its clients: two CAs in a folder, and what they issue and revoke.
//!
//! **Architecture Invariant:** the server's and the clients' certificates come from different CAs, so that whoever holds a
//! server's key, or issues server certificates, cannot be a client. No key leaves the folder.

mod authority;
mod folder;
mod names;
mod notices;
mod record;
mod request;
mod revocation;
mod rotation;
mod serving;
mod verify;

pub use authority::Authority;
pub use folder::{Files, Folder, certificates};
pub use names::{client_name, dns_name, spiffe_id};
pub use record::{Event, Issued, Record, VERIFY_CLIENT, from_hex};
pub use request::{BACKDATED, Request, Role, Validity};
pub use revocation::{Revocation, Revocations, is_revoked};
pub use serving::Serving;
pub use verify::Trial;

#[cfg(test)]
mod tests;

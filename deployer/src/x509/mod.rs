//! Certificates as the gate sees them.

mod certificate;
mod name;

pub use certificate::{Certificate, ReadError};
pub use name::{attribute_oid, attributes, rfc2253};

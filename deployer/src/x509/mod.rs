//! Certificates as the gate sees them.

mod algorithm;
mod certificate;
mod name;
mod number;
mod role;

pub use algorithm::{KeyKind, Signed};
pub use certificate::{Certificate, ReadError};
pub use name::{attribute_oid, attributes, rfc2253};
pub use number::Number;
pub use role::Role;

//! X.509 certificates: parsing, names as Envoy prints them, and what Envoy accepts.

mod algorithm;
mod certificate;
mod name;
mod number;
mod role;
mod signing_request;

pub(crate) use algorithm::{KeyKind, Signed};
pub(crate) use certificate::Certificate;
pub(crate) use name::{attribute_oid, attributes, rfc2253};
pub(crate) use number::Number;
pub(crate) use role::Role;
pub(crate) use signing_request::{LONGEST_REQUEST, RequestError, SigningRequest};

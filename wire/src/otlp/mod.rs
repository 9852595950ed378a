//! OTLP export requests: reads signals, counts items, and sets a client's resource attributes ([`splice()`]).

mod health;
mod json;
mod owned;
mod protobuf;
mod resource_attributes;
mod signal;
mod splice;
mod string_table;

pub use health::health_service;
pub use json::splice as splice_json;
pub use owned::Owned;
pub use protobuf::splice::splice;
pub use protobuf::{Malformed, find_bytes, put_bytes, put_uint};
pub use resource_attributes::ResourceAttributes;
pub use signal::Signal;
pub use splice::{MAX_EDITS, Splice, SpliceError};

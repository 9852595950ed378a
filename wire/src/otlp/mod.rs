//! OTLP messages on the wire: which signal, how many items, and the [`splice`] that stamps a client's attributes.

mod health;
mod json;
mod owned;
mod signal;
mod splice;
mod wire;

pub use health::health_service;
pub use json::splice as splice_json;
pub use owned::Owned;
pub use signal::Signal;
pub use splice::{MAX_EDITS, Splice, SpliceError, Stamp, splice};
pub use wire::{Malformed, find_bytes, put_bytes, put_uint};

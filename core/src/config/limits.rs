//! Limits on the size of messages, and on the memory that holds them.

use serde::{Deserialize, Serialize};

use super::Size;
use super::quantity::Unit;

/// Limits on the size of messages and headers, and on the memory for them. A message over a limit is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// The largest request body as it is sent, compressed or not: 1 byte to `1GiB`, and less than `held`.
    #[serde(skip_serializing_if = "is_default_wire")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "16MiB")))]
    pub wire: Size,
    /// The largest message after decompression: 1 byte to `1GiB`.
    #[serde(skip_serializing_if = "is_default_inflated")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "64MiB")))]
    pub inflated: Size,
    /// The highest compression ratio of a message that decompresses to more than 1 MiB, such as `100`. Default: no
    /// limit. `inflated` and the client's quota of bytes bound the size, and repetitive telemetry compresses well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<u32>,
    /// The largest headers of a request: the bytes of names and values, and 32 bytes for each header.
    #[serde(skip_serializing_if = "is_default_headers")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "16KiB")))]
    pub headers: Size,
    /// The memory of one worker thread for messages that have not arrived completely. Each request counts for its body
    /// so far, 16 KiB, and three times its headers. One client may use as much as is left for all others. Requests over
    /// the limit are rejected as retryable.
    #[serde(skip_serializing_if = "is_default_held")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "64MiB")))]
    pub held: Size,
}

impl Limits {
    /// Whether all limits have their defaults.
    pub fn is_default(&self) -> bool {
        *self == Limits::default()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wire: Size::new(16, Unit::MiB),
            inflated: Size::new(64, Unit::MiB),
            ratio: None,
            headers: Size::new(16, Unit::KiB),
            held: Size::new(64, Unit::MiB),
        }
    }
}

fn is_default_wire(size: &Size) -> bool {
    *size == Limits::default().wire
}

fn is_default_inflated(size: &Size) -> bool {
    *size == Limits::default().inflated
}

fn is_default_headers(size: &Size) -> bool {
    *size == Limits::default().headers
}

fn is_default_held(size: &Size) -> bool {
    *size == Limits::default().held
}

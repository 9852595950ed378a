//! Bounds on messages and on the memory that holds them.

use serde::{Deserialize, Serialize};

use super::Size;
use super::quantity::Unit;

/// How large a message may be, and how much of them the gate holds at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// The largest request body as it is sent, compressed or not.
    #[serde(skip_serializing_if = "is_default_wire")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "16MiB")))]
    pub wire: Size,
    /// The largest message after it is inflated.
    #[serde(skip_serializing_if = "is_default_inflated")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "64MiB")))]
    pub inflated: Size,
    /// How many times its compressed size a message above 1 MiB may inflate to. Without it, `inflated` and the client's quota of
    /// bytes are the bounds, so that dull data is not taken for an attack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<u32>,
    /// The largest headers of a request: names and values, and 32 bytes for each of them.
    #[serde(skip_serializing_if = "is_default_headers")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "16KiB")))]
    pub headers: Size,
    /// How much one worker thread holds of messages that have not arrived whole, 16 KiB for each request and three times its headers included. One
    /// client may hold as much of it as is left for the others. Who is above it is asked to come again.
    #[serde(skip_serializing_if = "is_default_held")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = "64MiB")))]
    pub held: Size,
}

impl Limits {
    /// Whether every limit is the default.
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

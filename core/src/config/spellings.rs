//! Which keys are an owned one.

use serde::{Deserialize, Serialize};

/// Which of a client's keys are taken for a key that the gate owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OwnedSpellings {
    /// All that backends fold into its name.
    #[default]
    Folded,
    /// The key itself.
    Exact,
}

impl OwnedSpellings {
    /// Whether it is what it is by default.
    pub fn is_folded(&self) -> bool {
        *self == OwnedSpellings::Folded
    }
}

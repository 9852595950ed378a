//! Which spellings of an owned key are removed.

use serde::{Deserialize, Serialize};

/// Which spellings of an owned key are removed from clients' Resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("default" = "folded")))]
pub enum OwnedSpellings {
    /// All that backends may store under the same name.
    #[default]
    Folded,
    /// The key itself only.
    Exact,
}

impl OwnedSpellings {
    /// Whether it has the default.
    pub fn is_folded(&self) -> bool {
        *self == OwnedSpellings::Folded
    }
}

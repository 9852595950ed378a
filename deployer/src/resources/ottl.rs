//! Texts of OTTL, the Collector's language for conditions and statements.

/// A string in OTTL, which quotes as Go does. In the Collector's configuration `$` begins a variable, so it is doubled.
pub(super) fn text(plain: &str) -> String {
    serde_json::Value::from(plain).to_string().replace('$', "$$")
}

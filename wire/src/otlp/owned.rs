//! Owned attribute keys, and all keys that a backend turns into one of them.
//!
//! Many backends store several keys under one name:
//!
//! - Loki, Prometheus and Mimir replace every character other than letters and digits with `_`, some of them a run of
//!   such characters with one `_`.
//! - Datadog ignores case, and everything before the first and after the last letter.
//! - VictoriaLogs and Elasticsearch join the keys of nested maps with dots, Elasticsearch also through lists.
//!
//! So keys are compared in folded form: letters in lower case, everything between letters and digits as one `_`, and
//! nothing before or after them. `Tenant-ID`, `_tenant.id` and the map `{"tenant": {"id": ..}}` all fold to
//! `tenant_id`.

/// The keys that only the filter may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Keys that are compared byte for byte.
    exact: Vec<Vec<u8>>,
    /// The folded form of the other keys; `None` if no keys are folded.
    folded: Option<Folded>,
}

/// Whether a key is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// Any client may set it.
    Free,
    /// Only the filter may set it.
    Owned,
    /// It is a prefix of an owned key: a key in a map below it may be the rest.
    Prefix(Prefix),
}

/// The first `len` bytes of the folded form of an owned key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    name: u16,
    len: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folded {
    names: Vec<Vec<u8>>,
    /// By first byte of a key: whether the key may fold to one of the names, or to a prefix of one.
    first: [bool; 256],
}

/// What Prometheus puts before a name that does not begin with a letter.
const PROMETHEUS: &[u8] = b"key_";

impl Owned {
    /// Owns these keys. If `folded`, also all keys that fold to one of them.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>, folded: bool) -> Self {
        let mut exact: Vec<Vec<u8>> = keys.into_iter().map(|key| key.as_ref().to_vec()).collect();
        let folded = folded.then(|| Folded::new(&mut exact));
        Owned { exact, folded }
    }

    /// Whether only the filter may set an attribute with this key and a string value.
    pub fn owns(&self, key: &str) -> bool {
        self.kind(key.as_bytes()) == KeyKind::Owned
    }

    /// Whether the key of an attribute is owned.
    #[inline]
    pub(super) fn kind(&self, key: &[u8]) -> KeyKind {
        match (&self.folded, key.first()) {
            (Some(folded), Some(&first)) if folded.first.get(usize::from(first)) == Some(&false) => {
                KeyKind::Free
            }
            _ => self.kind_of_similar(key),
        }
    }

    fn kind_of_similar(&self, key: &[u8]) -> KeyKind {
        if self.exact.iter().any(|owned| owned == key) {
            return KeyKind::Owned;
        }
        self.folded.as_ref().map_or(KeyKind::Free, |folded| folded.kind(key))
    }

    /// Whether a key in a map is owned, below this prefix.
    pub(super) fn kind_below(&self, prefix: Prefix, key: &[u8]) -> KeyKind {
        self.folded.as_ref().map_or(KeyKind::Free, |folded| folded.kind_below(prefix, key))
    }
}

impl Folded {
    /// Takes out of `keys` those that have letters or digits. All others would fold to the same empty name.
    fn new(keys: &mut Vec<Vec<u8>>) -> Self {
        let mut names = Vec::new();
        keys.retain(|key| {
            let mut name = Vec::new();
            for &byte in key {
                if byte.is_ascii_alphanumeric() {
                    name.push(byte.to_ascii_lowercase());
                } else if name.last().is_some_and(|&last| last != b'_') {
                    name.push(b'_');
                }
            }
            if name.last() == Some(&b'_') {
                name.pop();
            }
            if name.is_empty() {
                return true;
            }
            if !key.first().is_some_and(u8::is_ascii_alphabetic) {
                names.push([PROMETHEUS, &name].concat());
            }
            names.push(name);
            false
        });
        let mut first = [false; 256];
        for (byte, may) in (0u8..=255).zip(&mut first) {
            let begins = |name: &Vec<u8>| {
                name.first() == Some(&byte.to_ascii_lowercase())
                    || byte.is_ascii_digit() && name.starts_with(PROMETHEUS)
            };
            *may = !byte.is_ascii_alphanumeric() || names.iter().any(begins);
        }
        Folded { names, first }
    }

    fn kind(&self, key: &[u8]) -> KeyKind {
        let prefixed = !key.first().is_some_and(u8::is_ascii_alphabetic);
        best(self.names.iter().enumerate().map(|(name, folded)| match kind_at(name, folded, 0, key) {
            KeyKind::Free if prefixed && folded.starts_with(PROMETHEUS) => {
                kind_at(name, folded, PROMETHEUS.len() - 1, key)
            }
            kind => kind,
        }))
    }

    fn kind_below(&self, prefix: Prefix, key: &[u8]) -> KeyKind {
        let text =
            self.names.get(usize::from(prefix.name)).and_then(|name| name.get(..usize::from(prefix.len)));
        let text = text.unwrap_or_default();
        let names = self.names.iter().enumerate().filter(|(_, name)| name.starts_with(text));
        best(names.map(|(name, folded)| kind_at(name, folded, text.len(), key)))
    }
}

fn best(kinds: impl Iterator<Item = KeyKind>) -> KeyKind {
    let mut best = KeyKind::Free;
    for kind in kinds {
        match kind {
            KeyKind::Owned => return kind,
            KeyKind::Prefix(_) => best = kind,
            KeyKind::Free => {}
        }
    }
    best
}

/// Whether a key is owned that continues the first `at` bytes of `folded`, the folded name with the index `name`.
fn kind_at(name: usize, folded: &[u8], at: usize, key: &[u8]) -> KeyKind {
    let kind = |end| match end {
        Some(end) if end == folded.len() => KeyKind::Owned,
        Some(len) if len == 0 || folded.get(len) == Some(&b'_') => {
            // A key in a policy has at most 256 bytes.
            KeyKind::Prefix(Prefix { name: name as u16, len: len as u16 })
        }
        _ => KeyKind::Free,
    };
    let plain = kind(follow(folded, at, key.iter().copied()));
    if key.is_ascii() {
        return plain;
    }
    // Some backends replace letters that are not ASCII with `_`. To others, some of them are variants of ASCII letters.
    best([plain, kind(follow(folded, at, letters(key)))].into_iter())
}

/// The letters of a key with Unicode's variants of ASCII letters replaced: the Kelvin sign by `k`, `ſ` by `s`, and `İ`
/// by `i`.
fn letters(key: &[u8]) -> impl Iterator<Item = u8> {
    core::str::from_utf8(key).unwrap_or_default().chars().map(|letter| match letter {
        '\u{212a}' => b'k',
        'ſ' => b's',
        'İ' => b'i',
        other => u8::try_from(other).unwrap_or(b'_'),
    })
}

/// The offset in a folded name after `part`, if the name continues with it after its first `at` bytes.
fn follow(folded: &[u8], mut at: usize, part: impl Iterator<Item = u8>) -> Option<usize> {
    let mut separated = at > 0;
    for byte in part {
        if !byte.is_ascii_alphanumeric() {
            separated = at > 0;
            continue;
        }
        if core::mem::take(&mut separated) {
            folded.get(at).filter(|&&next| next == b'_')?;
            at += 1;
        }
        folded.get(at).filter(|&&next| next == byte.to_ascii_lowercase())?;
        at += 1;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> Owned {
        Owned::new(["tenant.id", "otlp_gate.client", "1st", "key.x", "tok", "租户", "größe"], true)
    }

    #[test]
    fn every_key_that_folds_to_an_owned_one_is_owned() {
        for key in [
            "tenant.id",
            "tenant_id",
            "tenant-id",
            "tenant/id",
            "tenant:id",
            "tenant id",
            "TENANT.ID",
            "Tenant_Id",
            "tenant..id",
            "tenant._-id",
            "tenant.id ",
            "_tenant.id",
            "tenant.id.",
            "tenant\u{e9}id",
            "tenant\u{1f600}id",
            "tenant.\u{130}d",
            "to\u{212a}",
            "TOK",
            "otlp.gate.client",
            "OTLP-GATE-CLIENT",
            "1st",
            "1ST",
            "key_1st",
            "_1st",
            "_x",
            "key.x",
            "租户",
            "gr__e",
            "GRÖßE",
            "gr.e",
        ] {
            assert_eq!(owned().kind(key.as_bytes()), KeyKind::Owned, "{key}");
        }
    }

    #[test]
    fn similar_keys_are_free() {
        for key in [
            "tenant.identity",
            "tenantid",
            "tenant.i",
            "tenant.id.x",
            "xtenant.id",
            "otlpgate.client",
            "service.name",
            "st",
            "te",
            "x",
            "地域",
        ] {
            assert_ne!(owned().kind(key.as_bytes()), KeyKind::Owned, "{key}");
        }
        let exact = Owned::new(["tenant.id"], false);
        assert_eq!((exact.kind(b"tenant.id"), exact.kind(b"tenant_id")), (KeyKind::Owned, KeyKind::Free));
        assert_eq!((exact.kind(b"tenant"), exact.kind(b"")), (KeyKind::Free, KeyKind::Free));
    }

    #[test]
    fn a_path_through_maps_can_be_an_owned_key() {
        for (path, want) in [
            (&["tenant", "id"][..], true),
            (&["TENANT.", ".ID"], true),
            (&["", "tenant", "", "id"], true),
            (&["otlp", "gate", "client"], true),
            (&["otlp_gate", "client"], true),
            (&["otlp", "gate-client"], true),
            (&["otlp", "client"], false),
            (&["tenant", "identity"], false),
            (&["ten", "ant.id"], false),
            (&["tenant", "i", "d"], false),
        ] {
            let owned = owned();
            let mut parts = path.iter();
            let mut kind = owned.kind(parts.next().unwrap().as_bytes());
            for part in parts {
                let KeyKind::Prefix(at) = kind else { break };
                kind = owned.kind_below(at, part.as_bytes());
            }
            assert_eq!(kind == KeyKind::Owned, want, "{path:?}");
        }
    }
}

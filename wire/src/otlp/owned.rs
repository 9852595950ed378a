//! Which attributes are the gate's: by their names, and by the names that backends make of them.
//!
//! A backend whose names have letters, digits and `_` only makes one name of many: Loki, Prometheus and Mimir write `_` for
//! every other character, some of them one for a run of such; Datadog ignores case and what comes before the first letter or
//! after the last; VictoriaLogs and Elasticsearch join the keys of maps in maps by dots, Elasticsearch also through lists. So
//! names are compared as all of that folds them: letters in one case, what is between letters and digits as one `_`, and
//! nothing before or after them.

/// The keys that the gate owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Those that are compared as they are.
    exact: Vec<Vec<u8>>,
    /// What the others fold to; `None` where there are none.
    folded: Option<Folded>,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not the gate's.
    Free,
    /// The gate's.
    Owned,
    /// The beginning of an owned name: below it, a key may be the rest.
    Part(Path),
}

/// The first `len` bytes of an owned name's folded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    name: u16,
    len: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folded {
    names: Vec<Vec<u8>>,
    /// Whether a key that begins with this byte may fold to one of the names, or to the beginning of one.
    first: [bool; 256],
}

/// What Prometheus writes before a name that begins with something else than a letter.
const PROMETHEUS: &[u8] = b"key_";

impl Owned {
    /// Owns these keys; where `folded`, also what folds to one of them.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>, folded: bool) -> Self {
        let mut exact: Vec<Vec<u8>> = keys.into_iter().map(|key| key.as_ref().to_vec()).collect();
        let folded = folded.then(|| Folded::new(&mut exact));
        Owned { exact, folded }
    }

    /// Whether an attribute with this key, and a text for a value, is the gate's.
    pub fn owns(&self, key: &str) -> bool {
        self.kind(key.as_bytes()) == Kind::Owned
    }

    /// What an attribute's key is.
    #[inline]
    pub(super) fn kind(&self, key: &[u8]) -> Kind {
        match (&self.folded, key.first()) {
            (Some(folded), Some(&first)) if folded.first.get(usize::from(first)) == Some(&false) => {
                Kind::Free
            }
            _ => self.kind_of_similar(key),
        }
    }

    fn kind_of_similar(&self, key: &[u8]) -> Kind {
        if self.exact.iter().any(|owned| owned == key) {
            return Kind::Owned;
        }
        self.folded.as_ref().map_or(Kind::Free, |folded| folded.kind(key))
    }

    /// What a key in a map is, at this path.
    pub(super) fn kind_below(&self, path: Path, key: &[u8]) -> Kind {
        self.folded.as_ref().map_or(Kind::Free, |folded| folded.kind_below(path, key))
    }
}

impl Folded {
    /// Takes the keys of which letters or digits are left. Nothing would tell others from one another.
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

    fn kind(&self, key: &[u8]) -> Kind {
        let prefixed = !key.first().is_some_and(u8::is_ascii_alphabetic);
        best(self.names.iter().enumerate().map(|(name, folded)| match kind_at(name, folded, 0, key) {
            Kind::Free if prefixed && folded.starts_with(PROMETHEUS) => {
                kind_at(name, folded, PROMETHEUS.len() - 1, key)
            }
            kind => kind,
        }))
    }

    fn kind_below(&self, path: Path, key: &[u8]) -> Kind {
        let text = self.names.get(usize::from(path.name)).and_then(|name| name.get(..usize::from(path.len)));
        let text = text.unwrap_or_default();
        let names = self.names.iter().enumerate().filter(|(_, name)| name.starts_with(text));
        best(names.map(|(name, folded)| kind_at(name, folded, text.len(), key)))
    }
}

fn best(kinds: impl Iterator<Item = Kind>) -> Kind {
    let mut best = Kind::Free;
    for kind in kinds {
        match kind {
            Kind::Owned => return kind,
            Kind::Part(_) => best = kind,
            Kind::Free => {}
        }
    }
    best
}

/// What a key is that goes on after the first `at` bytes of a folded name, whose number is `name`.
fn kind_at(name: usize, folded: &[u8], at: usize, key: &[u8]) -> Kind {
    let kind = |end| match end {
        Some(end) if end == folded.len() => Kind::Owned,
        Some(len) if len == 0 || folded.get(len) == Some(&b'_') => {
            // A key of a policy has 256 bytes at most.
            Kind::Part(Path { name: name as u16, len: len as u16 })
        }
        _ => Kind::Free,
    };
    let plain = kind(follow(folded, at, key.iter().copied()));
    if key.is_ascii() {
        return plain;
    }
    // Backends that know ASCII letters only take others for `_`; to others, some of these are letters.
    best([plain, kind(follow(folded, at, letters(key)))].into_iter())
}

/// A key's letters without their case, as Unicode has it: the Kelvin sign is a kind of `k`, `ſ` of `s`, and `İ` of `i`.
fn letters(key: &[u8]) -> impl Iterator<Item = u8> {
    core::str::from_utf8(key).unwrap_or_default().chars().map(|letter| match letter {
        '\u{212a}' => b'k',
        'ſ' => b's',
        'İ' => b'i',
        other => u8::try_from(other).unwrap_or(b'_'),
    })
}

/// Where in a folded name one is after a part of a key, if that is how the name goes on after its first `at` bytes.
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
    fn every_spelling_that_a_backend_folds_into_an_owned_name_is_owned() {
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
            assert_eq!(owned().kind(key.as_bytes()), Kind::Owned, "{key}");
        }
    }

    #[test]
    fn neighbours_are_free() {
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
            assert_ne!(owned().kind(key.as_bytes()), Kind::Owned, "{key}");
        }
        let exact = Owned::new(["tenant.id"], false);
        assert_eq!((exact.kind(b"tenant.id"), exact.kind(b"tenant_id")), (Kind::Owned, Kind::Free));
        assert_eq!((exact.kind(b"tenant"), exact.kind(b"")), (Kind::Free, Kind::Free));
    }

    #[test]
    fn a_path_leads_through_maps_to_an_owned_name() {
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
                let Kind::Part(at) = kind else { break };
                kind = owned.kind_below(at, part.as_bytes());
            }
            assert_eq!(kind == Kind::Owned, want, "{path:?}");
        }
    }
}

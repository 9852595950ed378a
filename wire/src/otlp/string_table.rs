//! The string table of profiles, by index into which an attribute may state its key.

use super::owned::KeyKind;
use super::protobuf::Malformed;
use super::resource_attributes::ResourceAttributes;

/// Which strings of the table are owned keys, prefixes of owned keys, or no valid keys.
#[derive(Default)]
pub(super) struct StringTable {
    /// By index, in order. `None` for strings that cannot be keys.
    kinds: Vec<(u32, Option<KeyKind>)>,
    len: usize,
}

/// The most strings of a table that are not free. A table has each string once, so they all are spelled differently.
const MAX_SPELLINGS: usize = 1 << 18;

impl StringTable {
    /// How many strings the table has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the next string of the table, which is at offset `at` of the message.
    ///
    /// # Errors
    /// The first string is not empty (profiles.proto: `string_table[0] must always be ""`). The Collector (0.155) takes
    /// it for the key of every attribute without an index, so any other string could forge an attribute. Or too many
    /// strings are spellings of owned keys.
    pub(super) fn add(
        &mut self,
        string: &[u8],
        attributes: &ResourceAttributes,
        at: usize,
    ) -> Result<(), Malformed> {
        if self.len == 0 && !string.is_empty() {
            return Err(Malformed { what: "first string of the string table is not empty", at });
        }
        let kind = attributes.kind(string, at).ok();
        if self.len > 0 && kind != Some(KeyKind::Free) {
            if self.kinds.len() == MAX_SPELLINGS {
                let what = "string table has too many spellings of owned attribute keys";
                return Err(Malformed { what, at });
            }
            self.kinds.push((self.len as u32, kind));
        }
        self.len += 1;
        Ok(())
    }

    /// Whether the key of the KeyValue at offset `at` is owned, by its key_strindex `index`, which is not 0.
    ///
    /// # Errors
    /// The KeyValue also has a `key` (common.proto: "key MUST NOT be set if key_strindex is used"; decoders differ in
    /// which one they take), or the index is outside the table, or its string is not a valid key.
    pub(super) fn kind(&self, index: u64, key: &[u8], at: usize) -> Result<KeyKind, Malformed> {
        if !key.is_empty() {
            return Err(Malformed { what: "attribute has both key and key_strindex", at });
        }
        let Some(index) = u32::try_from(index).ok().filter(|&index| (index as usize) < self.len) else {
            return Err(Malformed { what: "key_strindex is outside the string table", at });
        };
        match self.kinds.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(found) => {
                let kind = self.kinds.get(found).and_then(|(_, kind)| *kind);
                kind.ok_or(Malformed { what: "attribute key is not UTF-8 or contains NUL", at })
            }
            Err(_) => Ok(KeyKind::Free),
        }
    }
}

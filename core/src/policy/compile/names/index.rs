//! Which rules may give the same name as another, without comparing all with all.

use std::collections::BTreeSet;

use super::name_set::NameSet;
use crate::policy::hash_index::HashIndex;
use crate::sort;

/// Names with captures by how they start and end. Two sets can only have a name in common if the start of one continues
/// the start of the other, and likewise their ends.
pub(super) struct NameIndex {
    /// The lengths of starts and ends, in bytes.
    starts: BTreeSet<usize>,
    ends: BTreeSet<usize>,
    whole: HashIndex,
    /// Under each shorter end that is as long as the end of some other name.
    continued: HashIndex,
}

impl NameIndex {
    pub(super) fn new(names: &[NameSet<'_>]) -> Self {
        let with_captures = (0_u32..).zip(names).filter(|(_, name)| !name.is_literal());
        let starts = sort::set(with_captures.clone().map(|(_, name)| name.start().len()));
        let ends = sort::set(with_captures.clone().map(|(_, name)| name.end().len()));
        let whole = with_captures.clone().map(|(at, name)| ((name.start(), name.end()), at));
        let continued = with_captures.flat_map(|(at, name)| {
            let shorter = ends.range(..=name.end().len());
            shorter.map(move |length| ((name.start(), last(name.end(), *length)), at))
        });
        NameIndex { starts, whole: HashIndex::new(whole), continued: HashIndex::new(continued), ends }
    }

    /// The positions of names with captures that this name may meet.
    pub(super) fn near(&self, name: NameSet<'_>) -> Vec<u32> {
        let (start, end) = (name.start(), name.end());
        let mut near = Vec::new();
        for length in self.starts.range(..=start.len()) {
            let start = start.get(..*length).unwrap_or_default();
            for length in self.ends.range(..end.len()) {
                near.extend(self.whole.get((start, last(end, *length))));
            }
            near.extend(self.continued.get((start, end)));
        }
        near
    }
}

/// The last bytes of a name, which is ASCII.
fn last(text: &str, length: usize) -> &str {
    text.get(text.len().saturating_sub(length)..).unwrap_or_default()
}

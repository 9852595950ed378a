//! The outcome of a splice: edits to a message, so that everything else is forwarded without being copied or decoded.

use super::protobuf::{Malformed, Span};

/// Why a message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceError {
    /// The message is not valid.
    Malformed(Malformed),
    /// The message needs more than [`MAX_EDITS`] edits, or has too many attributes or ResourceSpans and the like to
    /// look at (more than 2^20).
    TooManyEdits,
    /// With the client's attributes, the message would be larger than the limit.
    TooLarge,
}

impl From<Malformed> for SpliceError {
    fn from(malformed: Malformed) -> Self {
        SpliceError::Malformed(malformed)
    }
}

/// The most edits of a message. An entry of two bytes grows by all attributes of a client, so without a bound a small
/// message could fill the worker's memory. Exporters stay far below: a batch has at most one Resource per item.
pub const MAX_EDITS: usize = 1 << 17;

/// The most attributes of all Resources of a message, plus its entries (ResourceSpans and the like): an empty entry is
/// two bytes and takes as long to read as many bytes of a span. Elements of attribute values that are looked into count
/// as well. A batch of 8192 items with a Resource each may have 128 attributes per Resource.
pub(super) const MAX_ATTRIBUTES: usize = 1 << 20;

/// How deep lists and maps may be nested in an attribute value that is searched for an owned key.
pub(super) const MAX_NESTED: usize = 128;

/// The outcome of a splice. It holds the edits only; [`Splice::pieces`] combines them with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    edits: Vec<Edit>,
    patch: Vec<u8>,
    /// The length of the message to forward, in bytes.
    pub len: usize,
    /// The number of spans, data points, log records or samples.
    pub items: u64,
    /// How many forged attributes were removed: attributes of the client under owned keys.
    pub removed: u64,
    /// How many entries (ResourceSpans and the like) have no items.
    pub empty_entries: u64,
}

/// What a splice counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) items: u64,
    pub(super) removed: u64,
    pub(super) empty_entries: u64,
}

/// Replaces `message[at..at + remove]` by a range of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) remove: usize,
    pub(super) insert: Span,
}

impl Edit {
    /// By how many bytes it makes the message longer.
    pub(super) fn grown(&self) -> i64 {
        (self.insert.end - self.insert.start) as i64 - self.remove as i64
    }
}

/// Adds an edit.
///
/// # Errors
/// There are [`MAX_EDITS`] edits already.
pub(super) fn push(edits: &mut Vec<Edit>, edit: Edit) -> Result<(), SpliceError> {
    if edits.len() >= MAX_EDITS {
        return Err(SpliceError::TooManyEdits);
    }
    edits.push(edit);
    Ok(())
}

impl Splice {
    /// The outcome of these edits, which are in order and make the message `len` bytes long.
    ///
    /// # Errors
    /// That is more than `max_len`.
    pub(super) fn new(
        edits: Vec<Edit>,
        patch: Vec<u8>,
        len: i64,
        max_len: usize,
        counts: Counts,
    ) -> Result<Splice, SpliceError> {
        let len = usize::try_from(len).ok().filter(|&len| len <= max_len).ok_or(SpliceError::TooLarge)?;
        let Counts { items, removed, empty_entries } = counts;
        Ok(Splice { edits, patch, len, items, removed, empty_entries })
    }

    /// The message to forward, in pieces and in order: parts of `message`, which must be the one that was spliced, and
    /// new bytes.
    pub fn pieces<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut from = 0;
        let edits = self.edits.iter().flat_map(move |edit| {
            let kept = message.get(from..edit.at).unwrap_or_default();
            from = edit.at + edit.remove;
            [kept, self.patch.get(edit.insert.start..edit.insert.end).unwrap_or_default()]
        });
        let tail = self.edits.last().map_or(0, |edit| edit.at + edit.remove);
        edits.chain([message.get(tail..).unwrap_or_default()]).filter(|piece| !piece.is_empty())
    }
}

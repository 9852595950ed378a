//! A worker's queue of buckets to report.

use core::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::share::{Class, Share};
use crate::quota::bucket_id::BucketId;
use crate::quota::ledger::Table;
use crate::quota::unreported::Ticket;
use crate::time::Timestamp;

/// How many buckets one call reports. To write the answers of as many takes a worker less than a millisecond.
const BATCH: usize = 200;
/// How many buckets a worker has in its queue at most. A bucket that does not fit is queued again later.
const MOST: usize = 1 << 15;

/// A bucket to report.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) due: Timestamp,
    pub(super) share: Rc<Share>,
    pub(super) id: BucketId,
    pub(super) table: Table,
    /// By its limits when it was queued.
    pub(super) class: Rc<Class>,
    /// The entry counts while the bucket has this ticket.
    pub(super) ticket: Ticket,
}

/// Buckets by the time when they are due.
#[derive(Debug, Default)]
pub(super) struct Queue(BinaryHeap<Reverse<Entry>>);

impl Queue {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.0.len() < MOST {
            self.0.push(Reverse(entry));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes those that are due, those that have waited longest first, up to a batch.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut due = Vec::new();
        while due.len() < BATCH
            && self.0.peek().is_some_and(|Reverse(entry)| entry.due <= now)
            && let Some(Reverse(entry)) = self.0.pop()
        {
            due.push(entry);
        }
        due
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

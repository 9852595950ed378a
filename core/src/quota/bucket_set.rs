//! A bucket set: the value of one key in the store.

use super::bucket::Bucket;
use super::bucket_id::BucketId;
use super::debt::{Debt, NUMBERS};
use super::tier::Tier;
use super::unreported::Ticket;
use crate::time::Timestamp;

/// How many buckets a set holds.
pub(super) const BUCKETS_PER_SET: usize = 8;

/// A bucket is stored as its id, a bit for each dimension that has a debt, four times (when it is settled at the rates
/// of its last charge, when it was brought up to date, when its two refund windows began), and the debts. If the engine
/// of a shared quota does not know all of it, there is one more bit ([`UNREPORTED`]), the ticket of its report, until when
/// the engine lacks what was lost, and with each debt the amount that is not reported.
const ID_LEN: usize = 16;
const FIXED_LEN: usize = ID_LEN + 1 + 4 * 8;
const DEBT_LEN: usize = NUMBERS * 8;
const TICKET_LEN: usize = 2 * 8;
const AMOUNT_LEN: usize = 8;

/// The bit beside those of the seven dimensions.
const UNREPORTED: u8 = 1 << 7;

/// The buckets that share a key, without the one that was taken out. They stay in their stored form.
pub(super) struct BucketSet {
    others: Vec<u8>,
    count: usize,
}

impl BucketSet {
    /// Takes the bucket of `id` out of a stored set, or a new one if there is none, and drops the buckets that are
    /// settled at `now`.
    pub(super) fn take(mut value: &[u8], id: BucketId, now: Timestamp) -> (Bucket, BucketSet) {
        // Room for a bucket that owes requests, bytes and items.
        let mut others = Vec::with_capacity(value.len() + FIXED_LEN + 3 * DEBT_LEN);
        let (mut bucket, mut count) = (Bucket::default(), 0);
        while let Some(mut stored) = split(&mut value) {
            let whole = stored;
            let Some(header) = Header::read(&mut stored) else { break };
            if header.id == id {
                bucket = header.bucket(stored);
            } else if header.settled > now {
                others.extend_from_slice(whole);
                count += 1;
            }
        }
        (bucket, BucketSet { others, count })
    }

    /// Whether the bucket that was taken out has no room, since it is not one of the set.
    pub(super) fn is_full(&self) -> bool {
        self.count >= BUCKETS_PER_SET
    }

    /// Drops the bucket that is settled first, if the set is full.
    pub(super) fn make_room(&mut self) {
        while self.is_full() {
            let (mut at, mut first) = (0, (Timestamp::MAX, 0..self.others.len()));
            let mut value = &self.others[..];
            while let Some(mut stored) = split(&mut value) {
                let end = at + stored.len();
                let settled = Header::read(&mut stored).map_or(Timestamp::EPOCH, |header| header.settled);
                if settled < first.0 {
                    first = (settled, at..end);
                }
                at = end;
            }
            self.others.drain(first.1);
            self.count -= 1;
        }
    }

    /// The value to store, with the bucket in it; `None` if the set is full.
    pub(super) fn put(self, id: BucketId, bucket: &Bucket, tier: &Tier) -> Option<Vec<u8>> {
        if self.is_full() {
            return None;
        }
        let mut value = self.others;
        let mut used = 0u8;
        for (dimension, debt) in bucket.debts.iter() {
            used |= u8::from(*debt != Debt::default()) << dimension as u8;
        }
        let unreported = &bucket.unreported;
        let mut settled = bucket.settled_at(tier);
        if unreported.matters(bucket.updated) {
            used |= UNREPORTED | unreported.dimensions();
            settled = settled.max(unreported.expires());
        }
        value.extend_from_slice(&id.0);
        value.push(used);
        let [earlier, later] = bucket.windows_began;
        put(&mut value, [settled, bucket.updated, earlier, later].map(Timestamp::as_nanos));
        if used & UNREPORTED != 0 {
            put(&mut value, [unreported.ticket.to_bits(), unreported.lost_until.as_nanos()]);
        }
        for (dimension, debt) in bucket.debts.iter() {
            if used >> dimension as u8 & 1 == 0 {
                continue;
            }
            put(&mut value, debt.to_numbers());
            if used & UNREPORTED != 0 {
                put(&mut value, [unreported.amounts[dimension].cast_unsigned()]);
            }
        }
        Some(value)
    }
}

/// Appends numbers, all of them at once.
fn put<const COUNT: usize>(value: &mut Vec<u8>, numbers: [u64; COUNT]) {
    value.extend_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
}

/// The bytes of the first stored bucket in `value`, which is left with the bytes after it.
fn split<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let used = *value.get(ID_LEN)?;
    let debts = (used & !UNREPORTED).count_ones() as usize;
    let mut len = FIXED_LEN + debts * DEBT_LEN;
    if used & UNREPORTED != 0 {
        len += TICKET_LEN + debts * AMOUNT_LEN;
    }
    let (stored, behind) = value.split_at_checked(len)?;
    *value = behind;
    Some(stored)
}

struct Header {
    id: BucketId,
    used: u8,
    settled: Timestamp,
}

impl Header {
    fn read(stored: &mut &[u8]) -> Option<Self> {
        let id = BucketId(bytes(stored)?);
        let [used] = bytes(stored)?;
        Some(Header { id, used, settled: Timestamp::from_nanos(number(stored)?) })
    }

    /// The bucket of this header, from the bytes after it.
    fn bucket(&self, mut stored: &[u8]) -> Bucket {
        let mut next = || number(&mut stored).unwrap_or_default();
        let [updated, earlier, later] = [next(), next(), next()].map(Timestamp::from_nanos);
        let mut bucket = Bucket { updated, windows_began: [earlier, later], ..Bucket::default() };
        let unreported = self.used & UNREPORTED != 0;
        if unreported {
            bucket.unreported.ticket = Ticket::from_bits(next());
            bucket.unreported.lost_until = Timestamp::from_nanos(next());
        }
        for (dimension, debt) in bucket.debts.iter_mut() {
            if self.used >> dimension as u8 & 1 == 1 {
                *debt = Debt::from_numbers(core::array::from_fn(|_| next()));
                if unreported {
                    bucket.unreported.amounts[dimension] = next().cast_signed();
                }
            }
        }
        bucket
    }
}

/// The first bytes of `value`, which is left with the bytes after them.
fn bytes<const LEN: usize>(value: &mut &[u8]) -> Option<[u8; LEN]> {
    let (first, behind) = value.split_first_chunk()?;
    *value = behind;
    Some(*first)
}

fn number(value: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes(value)?))
}

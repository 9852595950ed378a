//! A set of buckets: the value of one key in the store.

use super::account::Account;
use super::bucket::Bucket;
use super::tier::{BucketId, Tier};

/// Room for a bucket that owes requests, bytes and items.
const TYPICAL_LEN: usize = 16 + 1 + 4 * 8 + 3 * 7 * 8;

/// How many buckets a set holds. With 100,000 clients in debt, one set in 35,000 is full.
pub const WAYS: usize = 8;

/// The buckets that share one key.
pub(super) struct Set {
    entries: Vec<Entry>,
}

struct Entry {
    id: BucketId,
    /// When the bucket owes nothing any more, at the rates of its last charge.
    settled: u64,
    bucket: Bucket,
}

impl Set {
    pub(super) fn decode(mut value: &[u8]) -> Self {
        let mut entries = Vec::new();
        while let Some(entry) = Entry::decode(&mut value) {
            entries.push(entry);
        }
        Set { entries }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.entries.len() * TYPICAL_LEN);
        for entry in &self.entries {
            entry.encode(&mut value);
        }
        value
    }

    /// Takes the bucket of `id` out, a new one if there is none, and forgets those that owe nothing at `now`.
    pub(super) fn take(&mut self, id: BucketId, now: u64) -> Bucket {
        let mut taken = Bucket::default();
        self.entries.retain(|entry| {
            if entry.id == id {
                taken = entry.bucket;
            }
            entry.id != id && entry.settled > now
        });
        taken
    }

    /// Puts a bucket in; `false` if the set is full.
    pub(super) fn put(&mut self, id: BucketId, bucket: Bucket, tier: &Tier) -> bool {
        if self.entries.len() >= WAYS {
            return false;
        }
        self.entries.push(Entry { id, settled: bucket.settled_at(tier), bucket });
        true
    }
}

impl Entry {
    /// Reads the entry that `value` begins with, and leaves what is behind it.
    fn decode(value: &mut &[u8]) -> Option<Self> {
        let id = BucketId(take(value)?);
        let [used] = take(value)?;
        let mut number = || Some(u64::from_le_bytes(take(value)?));
        let (settled, last) = (number()?, number()?);
        let mut bucket = Bucket { last, began: [number()?, number()?], ..Bucket::default() };
        for (dimension, account) in bucket.accounts.iter_mut().enumerate() {
            if used >> dimension & 1 == 1 {
                let mut numbers = [0; 7];
                for stored in &mut numbers {
                    *stored = number()?;
                }
                *account = Account::of_numbers(numbers);
            }
        }
        Some(Entry { id, settled, bucket })
    }

    /// Appends the entry to `value`: its id, one bit for each dimension that it has numbers of, and the numbers.
    fn encode(&self, value: &mut Vec<u8>) {
        let mut used = 0u8;
        for (dimension, account) in self.bucket.accounts.iter().enumerate() {
            used |= u8::from(*account != Account::default()) << dimension;
        }
        value.extend_from_slice(&self.id.0);
        value.push(used);
        let mut put = |number: u64| value.extend_from_slice(&number.to_le_bytes());
        let [earlier, later] = self.bucket.began;
        [self.settled, self.bucket.last, earlier, later].into_iter().for_each(&mut put);
        for (dimension, account) in self.bucket.accounts.iter().enumerate() {
            if used >> dimension & 1 == 1 {
                account.numbers().into_iter().for_each(&mut put);
            }
        }
    }
}

/// The first bytes of `value`, which is left with those behind.
fn take<const LEN: usize>(value: &mut &[u8]) -> Option<[u8; LEN]> {
    let (taken, behind) = value.split_first_chunk()?;
    *value = behind;
    Some(*taken)
}

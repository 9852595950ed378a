//! A set of buckets: the value of one key in the store.

use super::account::{Account, NUMBERS};
use super::bucket::Bucket;
use super::tier::{BucketId, Tier};

/// How many buckets a set holds.
pub const WAYS: usize = 8;

/// A bucket is stored as its id, one bit for each dimension that it has numbers of, four times (when it owes nothing any more
/// at the rates of its last charge, when it was brought up to date, when its windows began), and the numbers.
const ID_LEN: usize = 16;
const FIXED_LEN: usize = ID_LEN + 1 + 4 * 8;
const ACCOUNT_LEN: usize = NUMBERS * 8;

/// The buckets that share one key, but for one that is taken out. The others stay as they are stored.
pub(super) struct Set {
    others: Vec<u8>,
    count: usize,
}

impl Set {
    /// Takes the bucket of `id` out of a stored set, a new one if there is none, and forgets those that owe nothing at `now`.
    pub(super) fn take(mut value: &[u8], id: BucketId, now: u64) -> (Bucket, Set) {
        // Room for one that owes requests, bytes and items.
        let mut others = Vec::with_capacity(value.len() + FIXED_LEN + 3 * ACCOUNT_LEN);
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
        (bucket, Set { others, count })
    }

    /// Whether there is no room for the bucket that was taken out, since it was none of the set's.
    pub(super) fn is_full(&self) -> bool {
        self.count >= WAYS
    }

    /// Forgets the bucket whose debt is paid back first, if the set is full.
    pub(super) fn make_room(&mut self) {
        while self.is_full() {
            let (mut at, mut first) = (0, (u64::MAX, 0..self.others.len()));
            let mut value = &self.others[..];
            while let Some(mut stored) = split(&mut value) {
                let end = at + stored.len();
                let settled = Header::read(&mut stored).map_or(0, |header| header.settled);
                if settled < first.0 {
                    first = (settled, at..end);
                }
                at = end;
            }
            self.others.drain(first.1);
            self.count -= 1;
        }
    }

    /// What to store with the bucket put in; none if the set is full.
    pub(super) fn put(self, id: BucketId, bucket: &Bucket, tier: &Tier) -> Option<Vec<u8>> {
        if self.is_full() {
            return None;
        }
        let mut value = self.others;
        let mut used = 0u8;
        for (dimension, account) in bucket.accounts.iter().enumerate() {
            used |= u8::from(*account != Account::default()) << dimension;
        }
        value.extend_from_slice(&id.0);
        value.push(used);
        let mut put = |number: u64| value.extend_from_slice(&number.to_le_bytes());
        let [earlier, later] = bucket.began;
        [bucket.settled_at(tier), bucket.last, earlier, later].into_iter().for_each(&mut put);
        for account in bucket.accounts.iter().filter(|account| **account != Account::default()) {
            account.numbers().into_iter().for_each(&mut put);
        }
        Some(value)
    }
}

/// The bytes of the stored bucket that `value` begins with; leaves what is behind it.
fn split<'a>(value: &mut &'a [u8]) -> Option<&'a [u8]> {
    let used = value.get(ID_LEN)?.count_ones() as usize;
    let (stored, behind) = value.split_at_checked(FIXED_LEN + used * ACCOUNT_LEN)?;
    *value = behind;
    Some(stored)
}

struct Header {
    id: BucketId,
    used: u8,
    settled: u64,
}

impl Header {
    fn read(stored: &mut &[u8]) -> Option<Self> {
        let id = BucketId(bytes(stored)?);
        let [used] = bytes(stored)?;
        Some(Header { id, used, settled: number(stored)? })
    }

    /// The bucket whose header this is, from what is behind it.
    fn bucket(&self, mut stored: &[u8]) -> Bucket {
        let mut next = || number(&mut stored).unwrap_or_default();
        let mut bucket = Bucket { last: next(), began: [next(), next()], ..Bucket::default() };
        for (dimension, account) in bucket.accounts.iter_mut().enumerate() {
            if self.used >> dimension & 1 == 1 {
                *account = Account::of_numbers(core::array::from_fn(|_| next()));
            }
        }
        bucket
    }
}

/// The first bytes of `value`, which is left with those behind.
fn bytes<const LEN: usize>(value: &mut &[u8]) -> Option<[u8; LEN]> {
    let (first, behind) = value.split_first_chunk()?;
    *value = behind;
    Some(*first)
}

fn number(value: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes(value)?))
}

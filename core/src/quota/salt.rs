//! The secret that decides which clients share a bucket set. No client may know it.

use std::hash::{DefaultHasher, Hasher};

use super::bucket_id::BucketId;

/// A secret of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salt([u64; 2]);

impl Salt {
    /// The salt of the first 16 bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Salt {
        let mut numbers = bytes.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        Salt([numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()])
    }

    /// SipHash-1-3 of the salt and a bucket's name. The hashes of many names do not reveal the hash of another.
    pub(super) fn hash(self, BucketId(id): BucketId) -> u64 {
        let (low, high) = id.split_at(8);
        let number = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
        let mut hash = DefaultHasher::new();
        let Salt([first, second]) = self;
        for number in [first, second, number(low), number(high)] {
            hash.write_u64(number);
        }
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_decides_which_clients_share_a_set() {
        let ids: Vec<BucketId> = (0..1000u32).map(|n| BucketId::of(&[&n.to_be_bytes()])).collect();
        let sets = |salt: Salt| ids.iter().map(|id| salt.hash(*id) % 16).collect::<Vec<_>>();
        let (a, b) = (sets(Salt([1, 0])), sets(Salt([2, 0])));
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!((30..100).contains(&same), "{same} of 1000 are in the same of 16 sets");
    }
}

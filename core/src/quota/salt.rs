//! What decides which clients share a set of buckets: nobody outside may know it.

use std::hash::{DefaultHasher, Hasher};

use sha2::{Digest, Sha256};

use super::ledger::{Store, StoreFailed};
use super::tier::BucketId;

/// Where all workers of a process find its salt.
const KEY: &str = "otlp-gate/salt";

/// The version to insert a key with: see the ledger's.
const UNWRITTEN: u32 = u32::MAX;

/// A secret of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salt([u64; 2]);

impl Salt {
    /// The salt that the workers of `store` share. The first to come makes it of `entropy`: bytes that nobody outside can know,
    /// however thin it is spread in them.
    pub fn shared<S: Store>(store: &S, entropy: impl FnOnce() -> Vec<u8>) -> Result<Salt, StoreFailed> {
        if let Some((value, _)) = store.get(KEY, true)? {
            return Ok(Salt::read(&value));
        }
        let digest: [u8; 32] = Sha256::digest(entropy()).into();
        // If another worker was faster, its salt counts.
        store.set(KEY, &digest, UNWRITTEN)?;
        Ok(store.get(KEY, true)?.map_or(Salt::default(), |(value, _)| Salt::read(&value)))
    }

    fn read(value: &[u8]) -> Salt {
        let mut numbers = value.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        Salt([numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()])
    }

    /// SipHash-1-3 of the salt and a bucket's name: what is known of many names' places does not tell another's.
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
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Shelf(RefCell<BTreeMap<String, Vec<u8>>>);

    impl Store for Shelf {
        fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            Ok(self.0.borrow().get(key).map(|value| (value.clone(), 1)))
        }

        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            assert_ne!(version, 0, "would overwrite another worker's");
            Ok(self.0.borrow_mut().insert(key.to_owned(), value.to_vec()).is_none())
        }
    }

    #[test]
    fn all_workers_of_a_process_have_one_salt_and_each_process_its_own() {
        let (one, other) = (Shelf::default(), Shelf::default());
        let salt = Salt::shared(&one, || vec![1]).unwrap();
        assert_eq!(Salt::shared(&one, || panic!("there is one")), Ok(salt));
        assert_ne!(Salt::shared(&other, || vec![2]).unwrap(), salt);
    }

    #[test]
    fn who_shares_a_set_depends_on_the_salt() {
        let ids: Vec<BucketId> = (0..1000u32).map(|n| BucketId::of(&[&n.to_be_bytes()])).collect();
        let places = |salt: Salt| ids.iter().map(|id| salt.hash(*id) % 16).collect::<Vec<_>>();
        let (a, b) = (places(Salt([1, 0])), places(Salt([2, 0])));
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!((30..100).contains(&same), "{same} of 1000 are in the same of 16 places");
    }
}

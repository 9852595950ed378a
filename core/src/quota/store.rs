//! The store that all workers share, as the proxy has it: keys, values and compare-and-swap.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::salt::Salt;

/// The version to insert a key with. Any version but 0 inserts a key that has no value yet, and no value has this one:
/// Envoy counts versions from 1, over all keys.
pub(crate) const NEW_KEY: u32 = u32::MAX;

/// The key of the salt that all workers of a process share.
const SALT_KEY: &str = "otlp-gate/salt";

/// A key-value store with compare-and-swap.
pub trait Store {
    /// The value of `key` and its version (not 0), or `None` if it was never set. Unless it must be `fresh`, it may be
    /// out of date: [`Store::set`] then does not accept its version.
    fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed>;

    /// The secret on which it depends which clients share a bucket set.
    fn salt(&self) -> Salt {
        Salt::default()
    }

    /// Sets `key` if its version is still `version`, or if it has no value yet. Returns whether it did.
    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed>;
}

impl<S: Store> Store for Rc<S> {
    fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        S::get(self, key, fresh)
    }

    fn salt(&self) -> Salt {
        S::salt(self)
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        S::set(self, key, value, version)
    }
}

/// The store does not work. Requests are then admitted without being charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFailed;

/// The salt that all workers with this store share. The first worker derives it from `entropy`: bytes that no client
/// can know as a whole, however little of each is random.
///
/// # Errors
/// The store failed.
pub fn shared_salt<S: Store>(store: &S, entropy: impl FnOnce() -> Vec<u8>) -> Result<Salt, StoreFailed> {
    if let Some((value, _)) = store.get(SALT_KEY, true)? {
        return Ok(Salt::from_bytes(&value));
    }
    let digest: [u8; 32] = Sha256::digest(entropy()).into();
    // If another worker was faster, its salt counts.
    store.set(SALT_KEY, &digest, NEW_KEY)?;
    Ok(store.get(SALT_KEY, true)?.map_or(Salt::default(), |(value, _)| Salt::from_bytes(&value)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<String, Vec<u8>>>);

    impl Store for Memory {
        fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            Ok(self.0.borrow().get(key).map(|value| (value.clone(), 1)))
        }

        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            assert_ne!(version, 0, "would overwrite the salt of another worker");
            Ok(self.0.borrow_mut().insert(key.to_owned(), value.to_vec()).is_none())
        }
    }

    #[test]
    fn all_workers_of_a_process_share_a_salt_and_no_two_processes_do() {
        let (one, other) = (Memory::default(), Memory::default());
        let salt = shared_salt(&one, || vec![1]).unwrap();
        assert_eq!(shared_salt(&one, || panic!("there is one")), Ok(salt));
        assert_ne!(shared_salt(&other, || vec![2]).unwrap(), salt);
    }
}

//! A store in memory, for tests and benchmarks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::salt::Salt;
use super::store::{Store, StoreFailed};

/// A store in memory. As in the proxy, one counter numbers the versions of all keys, from 1.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pub(super) values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    versions: Cell<u32>,
    salt: Salt,
}

impl MemoryStore {
    /// An empty store with this salt. The default store has the default salt, which is no secret.
    pub fn with_salt(salt: Salt) -> Self {
        MemoryStore { salt, ..MemoryStore::default() }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        Ok(self.values.borrow().get(key).cloned())
    }

    fn salt(&self) -> Salt {
        self.salt
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        let mut values = self.values.borrow_mut();
        let fits = values.get(key).is_none_or(|(_, current)| *current == version);
        if fits {
            self.versions.set(self.versions.get() + 1);
            values.insert(key.to_owned(), (value.to_vec(), self.versions.get()));
        }
        Ok(fits)
    }
}

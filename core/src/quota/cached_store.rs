//! A cache in front of the shared store.
//!
//! To return a value, a proxy asks the module for memory, which costs ten times as much as to store one. So a change
//! starts from the value that this worker wrote last, and fetches the value only if another worker has written it
//! since.

use core::cell::{Cell, OnceCell, RefCell};

use super::salt::Salt;
use super::store::{Store, StoreFailed};
use crate::clock_cache::ClockCache;

/// The size of the cache in bytes: room for some thousand values.
const CACHE_SIZE: usize = 1 << 20;

/// Caches the values that were written to `S`.
///
/// A store does not report the version of a write, but versions only grow, and over all keys. So the cache keeps a
/// version that cannot be above the true one. If the key has exactly this version, no worker has written it since.
/// Otherwise the next write fails, and the value is fetched. A wrong guess costs a fetch; it never loses a write.
#[derive(Debug)]
pub struct CachedStore<S> {
    store: S,
    written: RefCell<ClockCache<(Vec<u8>, u32)>>,
    /// The highest version that the store has certainly reached.
    latest: Cell<u32>,
    salt: OnceCell<Salt>,
}

impl<S> CachedStore<S> {
    /// A cache in front of `store`.
    pub fn new(store: S) -> Self {
        CachedStore {
            store,
            written: RefCell::new(ClockCache::new(CACHE_SIZE)),
            latest: Cell::new(0),
            salt: OnceCell::new(),
        }
    }
}

impl<S: Default> Default for CachedStore<S> {
    fn default() -> Self {
        CachedStore::new(S::default())
    }
}

impl<S: Store> Store for CachedStore<S> {
    fn salt(&self) -> Salt {
        match self.salt.get() {
            Some(salt) => *salt,
            None => {
                let salt = self.store.salt();
                // While the store fails there is no salt. Nothing is charged then either.
                if salt != Salt::default() {
                    let _ = self.salt.set(salt);
                }
                salt
            }
        }
    }

    fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        if !fresh && let Some(written) = self.written.borrow_mut().get(key) {
            return Ok(Some(written.clone()));
        }
        let found = self.store.get(key, true)?;
        if let Some((_, version)) = found {
            // Versions start again after 2^32 writes. A version that is far smaller is a newer one.
            let latest = self.latest.get();
            if version > latest || latest - version > u32::MAX / 2 {
                self.latest.set(version);
            }
        }
        Ok(found)
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        let set = self.store.set(key, value, version)?;
        let mut written = self.written.borrow_mut();
        if !set {
            written.remove(key);
            return Ok(false);
        }
        let guess = self.latest.get().wrapping_add(1);
        self.latest.set(guess);
        match written.get(key) {
            Some((cached, version)) if cached.capacity() >= value.len() => {
                cached.clear();
                cached.extend_from_slice(value);
                *version = guess;
            }
            _ => written.insert(key, (value.to_vec(), guess), value.len()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::memory_store::MemoryStore;
    use super::*;
    use proptest::prelude::*;

    /// A store that counts how often a value is fetched.
    #[derive(Default)]
    struct Counting {
        store: MemoryStore,
        fetched: Cell<u32>,
    }

    impl Counting {
        fn value(&self, key: &str) -> u8 {
            self.store.get(key, true).unwrap().map_or(0, |(value, _)| value[0])
        }
    }

    impl Store for Counting {
        fn get(&self, key: &str, fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            self.fetched.set(self.fetched.get() + 1);
            self.store.get(key, fresh)
        }

        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            self.store.set(key, value, version)
        }
    }

    /// Adds one to the number under `key`, in the way of the ledger.
    fn add_one(worker: &CachedStore<Rc<Counting>>, key: &str) {
        let mut fresh = false;
        loop {
            let (value, version) = worker.get(key, fresh).unwrap().unwrap_or((vec![0], 1));
            if worker.set(key, &[value[0] + 1], version).unwrap() {
                return;
            }
            fresh = true;
        }
    }

    #[test]
    fn a_single_worker_fetches_a_value_once() {
        let shared = Rc::new(Counting::default());
        let worker = CachedStore::new(Rc::clone(&shared));
        for _ in 0..10 {
            add_one(&worker, "a");
            add_one(&worker, "b");
        }
        assert_eq!(shared.value("a"), 10);
        assert_eq!(shared.fetched.get(), 2);
    }

    proptest! {
        #[test]
        fn no_write_is_lost_in_any_order_of_workers(steps in prop::collection::vec((0..3usize, 0..3usize), 0..80)) {
            let shared = Rc::new(Counting::default());
            let workers: Vec<_> = (0..3).map(|_| CachedStore::new(Rc::clone(&shared))).collect();
            let mut counts = [0u8; 3];
            for (worker, key) in steps {
                add_one(&workers[worker], ["a", "b", "c"][key]);
                counts[key] += 1;
            }
            for (key, count) in ["a", "b", "c"].iter().zip(counts) {
                prop_assert_eq!(shared.value(key), count);
            }
        }
    }
}

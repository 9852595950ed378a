//! A store that remembers what this worker wrote last.
//!
//! A proxy hands out a value by asking the module for memory, which costs ten times as much as taking one. So the next
//! change starts from what was written last, and only where another worker came between is the value fetched.

use core::cell::{Cell, OnceCell, RefCell};

use super::salt::Salt;
use super::store::{Store, StoreFailed};
use crate::clock_cache::ClockCache;

/// How much is remembered, in bytes: some thousand values.
const MOST: usize = 1 << 20;

/// Caches what was written to `S`.
///
/// A store does not say which version a write got, but versions only grow, over all keys. So a version that is
/// surely not above the true one is remembered: if the key has just that version, nobody has written it since, and
/// otherwise the next write is refused and the value fetched. A guess can cost a fetch; it can not lose a write.
#[derive(Debug)]
pub struct CachedStore<S> {
    store: S,
    written: RefCell<ClockCache<(Vec<u8>, u32)>>,
    /// The highest version that has surely been given out.
    latest: Cell<u32>,
    salt: OnceCell<Salt>,
}

impl<S> CachedStore<S> {
    /// Caches what is written to `store`.
    pub fn new(store: S) -> Self {
        CachedStore {
            store,
            written: RefCell::new(ClockCache::new(MOST)),
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
                // As long as the store fails there is none, and nothing is counted either.
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
            // Versions start again after 2^32 writes; a far smaller one is a newer one then.
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
            Some((remembered, version)) if remembered.capacity() >= value.len() => {
                remembered.clear();
                remembered.extend_from_slice(value);
                *version = guess;
            }
            _ => written.insert(key, (value.to_vec(), guess), value.len()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::*;
    use proptest::prelude::*;

    /// A store as the proxy has it: one counter gives out the versions of all keys.
    #[derive(Default)]
    struct Shared {
        values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
        counter: Cell<u32>,
        fetched: Cell<u32>,
    }

    impl Store for Rc<Shared> {
        fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
            self.fetched.set(self.fetched.get() + 1);
            Ok(self.values.borrow().get(key).cloned())
        }

        fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
            let mut values = self.values.borrow_mut();
            let fits = values.get(key).is_none_or(|(_, current)| *current == version);
            if fits {
                self.counter.set(self.counter.get() + 1);
                values.insert(key.to_owned(), (value.to_vec(), self.counter.get()));
            }
            Ok(fits)
        }
    }

    /// Adds one to the number that `key` holds, as the ledger would.
    fn add_one(worker: &CachedStore<Rc<Shared>>, key: &str) {
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
    fn a_worker_alone_fetches_a_value_once() {
        let shared = Rc::new(Shared::default());
        let worker = CachedStore::new(Rc::clone(&shared));
        for _ in 0..10 {
            add_one(&worker, "a");
            add_one(&worker, "b");
        }
        assert_eq!(shared.values.borrow()["a"].0, [10]);
        assert_eq!(shared.fetched.get(), 2);
    }

    proptest! {
        #[test]
        fn no_write_is_lost_whoever_writes_in_whatever_order(steps in prop::collection::vec((0..3usize, 0..3usize), 0..80)) {
            let shared = Rc::new(Shared::default());
            let workers: Vec<_> = (0..3).map(|_| CachedStore::new(Rc::clone(&shared))).collect();
            let mut counts = [0u8; 3];
            for (worker, key) in steps {
                add_one(&workers[worker], ["a", "b", "c"][key]);
                counts[key] += 1;
            }
            for (key, count) in ["a", "b", "c"].iter().zip(counts) {
                let found = shared.values.borrow().get(*key).map_or(0, |(value, _)| value[0]);
                prop_assert_eq!(found, count);
            }
        }
    }
}

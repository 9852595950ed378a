//! The store that all workers of the process share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use otlp_gate_core::quota::{Salt, Store, StoreFailed, shared_salt};

use crate::host::Proxy;

/// The number of maps, each behind a lock of its own: workers seldom wait for each other.
const SHARDS: usize = 64;

/// Values and their versions by key. The number of keys is bounded by those who use them (see
/// `otlp_gate_core::quota`).
type Shard = Mutex<BTreeMap<Box<str>, (Vec<u8>, u32)>>;

static STORE: [Shard; SHARDS] = [const { Mutex::new(BTreeMap::new()) }; SHARDS];

/// The last version that was given. One counter numbers the versions of all keys, from 1.
static VERSION: AtomicU32 = AtomicU32::new(0);

static SALT: OnceLock<Salt> = OnceLock::new();

impl Store for Proxy {
    fn salt(&self) -> Salt {
        *SALT.get_or_init(|| {
            let mut random = [0; 32];
            // Without random numbers there is no salt, and nothing is charged. The kernel always has some.
            let read = getrandom::fill(&mut random).map_err(|_| StoreFailed);
            read.and_then(|()| shared_salt(self, || random.to_vec())).unwrap_or_default()
        })
    }

    fn get(&self, key: &str, _fresh: bool) -> Result<Option<(Vec<u8>, u32)>, StoreFailed> {
        // A panic while the lock is held leaves a map that is whole.
        let values = shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        Ok(values.get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], version: u32) -> Result<bool, StoreFailed> {
        let mut values = shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        match values.get_mut(key) {
            Some((_, current)) if *current != version => return Ok(false),
            Some((stored, current)) => {
                stored.clear();
                stored.extend_from_slice(value);
                *current = next_version();
            }
            None => _ = values.insert(key.into(), (value.to_vec(), next_version())),
        }
        Ok(true)
    }
}

/// The next version: neither 0, which no key has, nor the highest number, which inserts a key.
fn next_version() -> u32 {
    loop {
        let version = VERSION.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if version != 0 && version != u32::MAX {
            return version;
        }
    }
}

/// The map of a key, by FNV-1a. Clients choose no keys: they end in the number of a bucket set, or are the policy's.
fn shard(key: &str) -> &'static Shard {
    let hash =
        key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [first, ..] = &STORE;
    STORE.get(hash as usize % SHARDS).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn no_write_of_any_thread_is_lost() {
        let count = |key: &str| {
            Proxy
                .get(key, true)
                .unwrap()
                .map_or(0, |(value, _)| u32::from_le_bytes(value.try_into().unwrap()))
        };
        let add = |key: &str| loop {
            let (value, version) = Proxy.get(key, true).unwrap().unwrap_or((vec![0; 4], 7));
            let next = u32::from_le_bytes(value.try_into().unwrap()) + 1;
            if Proxy.set(key, &next.to_le_bytes(), version).unwrap() {
                break;
            }
        };
        let writes = 2000;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..writes).for_each(|write| add(&format!("test/{}", write % 3))));
            }
        });
        assert_eq!((0..3).map(|key| count(&format!("test/{key}"))).sum::<u32>(), 4 * writes);
    }

    #[test]
    fn a_key_that_has_a_value_is_not_inserted_again() {
        assert_eq!(Proxy.set("test/once", b"a", u32::MAX), Ok(true));
        assert_eq!(Proxy.set("test/once", b"b", u32::MAX), Ok(false));
        let (value, version) = Proxy.get("test/once", true).unwrap().unwrap();
        assert_eq!(value, b"a");
        assert_eq!(Proxy.set("test/once", b"c", version), Ok(true));
        assert_eq!(Proxy.set("test/once", b"d", version), Ok(false), "it has another version now");
    }

    #[test]
    fn all_threads_have_the_same_salt_and_it_is_not_the_default() {
        let salt = Proxy.salt();
        assert_ne!(salt, Salt::default());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert_eq!(Proxy.salt(), salt));
            }
        });
    }
}

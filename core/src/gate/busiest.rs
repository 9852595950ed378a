//! The clients that have metrics of their own although their names are not in the config: the busiest ones.
//!
//! A proxy never deletes a metric, so a name that has metrics keeps them, and the number of names is bounded for as
//! long as the process lives. The names are in the shared store: all workers have the same ones, also after a VM was
//! restarted. docs/reference/metrics.md has the rule by which a client gets one of the free names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::client::Client;
use crate::quota::{NEW_KEY, Store};
use crate::time::{Nanos, Timestamp};

/// How often a worker reports to the others how much its clients have sent.
const INTERVAL: Nanos = Nanos::from_secs(5);

/// How long after the first report of all, in seconds, the second half of the names is held back. Before, shares mean
/// little: a single client may have sent most of what was counted so far.
const WARM_UP: u64 = 600;

/// After this time, in seconds, what clients have sent counts 1/18 less: half after an hour.
const DECAY: u64 = 300;

/// After this many times nothing of it is left that matters: a thousandth.
const MAX_DECAYS: u64 = 120;

/// The longest name that gets metrics, in bytes.
const MAX_NAME: usize = 128;

/// How often a report is tried again when another worker was faster.
const ATTEMPTS: usize = 3;

/// What metrics call all clients without metrics of their own.
pub(super) const OTHER: &str = "other";

/// The busiest clients of a gate, as one worker has them.
#[derive(Debug)]
pub(super) struct Busiest {
    /// The key in the shared store.
    key: String,
    /// How many names there may be.
    most: usize,
    next: Cell<Timestamp>,
    /// Changes with `named`.
    generation: Cell<u32>,
    named: RefCell<BTreeSet<String>>,
    /// What clients have sent since the last report, in bytes: of all of them, and of those without a name.
    total: Cell<u64>,
    sent: RefCell<Sums>,
}

/// What the workers of a proxy share.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Shared {
    named: BTreeSet<String>,
    /// When the first report came, in seconds since the Unix epoch.
    began: u64,
    /// When what follows was decayed, likewise.
    at: u64,
    total: u64,
    sent: Sums,
}

/// Bytes by name, of a limited number of names. Where there are more, the sums are too low, by at most the sum of all
/// divided by that number (Misra and Gries, "Finding repeated elements", 1982). They are never too high, so a client
/// gains nothing from many names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Sums(BTreeMap<String, u64>);

impl Busiest {
    pub(super) fn new(gate: &str, most: usize) -> Self {
        Busiest {
            key: format!("otlp-gate-busiest/{gate}"),
            most,
            next: Cell::default(),
            generation: Cell::default(),
            named: RefCell::default(),
            total: Cell::default(),
            sent: RefCell::default(),
        }
    }

    /// Finds out whether a client has metrics of its own.
    pub(super) fn look_up<S: Store>(&self, client: &Client, store: &S, now: Timestamp) {
        if client.resolved.listed || self.most == 0 {
            return;
        }
        let next = self.next.get();
        if now >= next || next.since(now) > INTERVAL {
            self.next.set(now + INTERVAL);
            self.report(store, now);
        }
        client.busiest.update(self.generation.get(), || self.named.borrow().contains(client.name()));
    }

    /// Counts what the backend accepted of a client, in bytes.
    pub(super) fn count(&self, client: &Client, bytes: u64) {
        if client.resolved.listed || self.most == 0 {
            return;
        }
        // An empty message is one too.
        let bytes = bytes.max(1);
        self.total.set(self.total.get().saturating_add(bytes));
        let name = client.name();
        if !client.has_metrics() && name != OTHER && name.len() <= MAX_NAME {
            self.sent.borrow_mut().add(name, bytes, self.candidates());
        }
    }

    /// The number of names whose bytes are counted.
    fn candidates(&self) -> usize {
        2 * self.most
    }

    /// Reports what clients have sent, gives names to those that have become busy, and learns which names there are. If
    /// the store fails, or other workers are always faster, the next report has the rest.
    fn report<S: Store>(&self, store: &S, now: Timestamp) {
        for _ in 0..ATTEMPTS {
            let (mut shared, version) = match store.get(&self.key, true) {
                Ok(None) => (Shared::default(), NEW_KEY),
                Ok(Some((value, version))) => match serde_json::from_slice(&value) {
                    Ok(shared) => (shared, version),
                    Err(_) => return,
                },
                Err(_) => return,
            };
            if self.total.get() == 0 {
                return self.learn(shared.named);
            }
            shared.decay(now);
            shared.add(self.total.get(), &self.sent.borrow(), self.candidates());
            shared.name(&self.sent.borrow(), self.most, now);
            let Ok(value) = serde_json::to_vec(&shared) else { return };
            match store.set(&self.key, &value, version) {
                Ok(true) => {
                    self.total.set(0);
                    self.sent.borrow_mut().0.clear();
                    return self.learn(shared.named);
                }
                Ok(false) => {}
                Err(_) => return,
            }
        }
    }

    fn learn(&self, named: BTreeSet<String>) {
        if *self.named.borrow() != named {
            *self.named.borrow_mut() = named;
            self.generation.set(self.generation.get().wrapping_add(1));
        }
    }
}

impl Shared {
    fn decay(&mut self, now: Timestamp) {
        let now = now.as_secs();
        if self.began == 0 {
            self.began = now;
        }
        let times = now.saturating_sub(self.at) / DECAY;
        // The clock may have been set back.
        if self.at == 0 || now < self.at || times > MAX_DECAYS {
            if times > MAX_DECAYS {
                (self.total, self.sent) = (0, Sums::default());
            }
            self.at = now;
            return;
        }
        self.at += times * DECAY;
        let decayed = |sum: u64| (0..times).fold(sum, |sum, _| sum - sum.div_ceil(18));
        self.total = decayed(self.total);
        self.sent.0.retain(|_, sum| {
            *sum = decayed(*sum);
            *sum > 0
        });
    }

    fn add(&mut self, total: u64, sent: &Sums, candidates: usize) {
        self.total = self.total.saturating_add(total);
        for (name, bytes) in &sent.0 {
            // Another worker may have given it a name.
            if !self.named.contains(name) {
                self.sent.add(name, *bytes, candidates);
            }
        }
    }

    /// Gives names to clients that have just sent.
    fn name(&mut self, sent: &Sums, most: usize, now: Timestamp) {
        let is_warm = now.as_secs() >= self.began.saturating_add(WARM_UP);
        let bytes = |name: &&String| Some((*self.sent.0.get(*name)?, (*name).clone()));
        let mut busiest: Vec<_> = sent.0.keys().filter_map(|name| bytes(&name)).collect();
        busiest.sort_unstable_by(|a, b| b.cmp(a));
        // The first half is for whoever is busiest now. A quarter of it at a time, so that it is not for the clients of
        // the worker alone that reports first.
        let mut at_once = most.div_ceil(2).saturating_sub(self.named.len()).div_ceil(4);
        for (bytes, name) in busiest {
            let free = most.saturating_sub(self.named.len());
            let has_share = is_warm && u128::from(bytes) * free as u128 >= u128::from(self.total);
            if free == 0 || (at_once == 0 && !has_share) {
                return;
            }
            at_once = at_once.saturating_sub(1);
            self.sent.0.remove(&name);
            self.named.insert(name);
        }
    }
}

impl Sums {
    fn add(&mut self, name: &str, bytes: u64, most: usize) {
        if let Some(sum) = self.0.get_mut(name) {
            *sum = sum.saturating_add(bytes);
            return;
        }
        let mut left = bytes;
        if self.0.len() >= most {
            let least = self.0.values().copied().min().unwrap_or_default().min(bytes);
            self.0.retain(|_, sum| {
                *sum -= least;
                *sum > 0
            });
            left -= least;
        }
        if left > 0 && self.0.len() < most {
            self.0.insert(name.to_owned(), left);
        }
    }
}

/// Whether a client is among the busiest, as of a generation of [`Busiest`].
#[derive(Debug, Default)]
pub(super) struct IsBusiest(Cell<(u32, bool)>);

impl IsBusiest {
    pub(super) fn get(&self) -> bool {
        self.0.get().1
    }

    fn update(&self, generation: u32, is: impl FnOnce() -> bool) {
        if self.0.get().0 != generation {
            self.0.set((generation, is()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::load::Gate;
    use crate::identity::Identity;
    use crate::quota::MemoryStore;

    const POLICY: &str = r#"{"clients":[{"name":"{c}","match":{"dns":"{c}.example"}}]}"#;
    const START: Timestamp = Timestamp::from_secs(2_000_000_000);

    /// A proxy with some workers.
    struct Proxy {
        gate: Gate,
        store: MemoryStore,
        workers: Vec<Busiest>,
        now: Timestamp,
    }

    impl Proxy {
        fn new(workers: usize, most: usize) -> Self {
            Proxy {
                gate: Gate::load(POLICY.as_bytes()).unwrap(),
                store: MemoryStore::default(),
                workers: (0..workers).map(|_| Busiest::new("g", most)).collect(),
                now: START,
            }
        }

        /// A request of a client, on a new connection.
        fn send(&self, worker: usize, name: &str, bytes: u64) -> bool {
            let dns = format!("{name}.example");
            let identity = Identity::from_texts(&[], &[&dns], None, Some([1; 32]));
            let client = self.gate.client(&identity).unwrap();
            let busiest = &self.workers[worker % self.workers.len()];
            busiest.look_up(&client, &self.store, self.now);
            busiest.count(&client, bytes);
            client.has_metrics()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Nanos::from_secs(seconds);
        }

        fn named(&self) -> BTreeSet<String> {
            let value = self.store.get(&self.workers[0].key, true).unwrap();
            value.map_or_else(BTreeSet::new, |(value, _)| {
                serde_json::from_slice::<Shared>(&value).unwrap().named
            })
        }
    }

    #[test]
    fn clients_get_names_on_all_workers_within_two_reports_and_keep_them() {
        let mut proxy = Proxy::new(2, 10);
        for _ in 0..2 {
            assert!(!proxy.send(0, "a", 10));
            assert!(!proxy.send(1, "b", 10));
            proxy.pass(1);
        }
        proxy.pass(5);
        proxy.send(0, "a", 10);
        proxy.send(1, "b", 10);
        proxy.pass(5);
        for worker in 0..2 {
            assert!(proxy.send(worker, "a", 1) && proxy.send(worker, "b", 1), "{worker}");
        }
        // A VM that is restarted, and a policy that is loaded again, have the names at once.
        proxy.workers[1] = Busiest::new("g", 10);
        assert!(proxy.send(1, "a", 1));
        // So has one with a lower bound, which gives no more names.
        proxy.workers[1] = Busiest::new("g", 1);
        assert!(proxy.send(1, "b", 1));
        // They are kept however long a client is silent.
        proxy.pass(100 * 86_400);
        proxy.send(0, "c", 1);
        proxy.pass(5);
        assert!(proxy.send(0, "a", 1));
        assert!(!Proxy::new(1, 10).send(0, "a", 1), "names are those of a process");
    }

    #[test]
    fn all_clients_get_names_where_there_are_enough() {
        let mut proxy = Proxy::new(2, 40);
        for _ in 0..40 {
            for client in 0..20 {
                proxy.send(client, &format!("c{client}"), 1 + client as u64);
            }
            proxy.pass(2);
        }
        assert_eq!(proxy.named().len(), 20);
    }

    #[test]
    fn many_names_take_no_name_from_a_client_that_is_busier_than_all_of_them() {
        let mut proxy = Proxy::new(2, 20);
        let mut names = 0;
        // A day of a hostile client with a tenth of the traffic, which always has new names. Of the honest clients, some
        // come late.
        for minute in 0..24 * 60 {
            let (clients, bytes) = if minute < 600 { (3, 300) } else { (5, 180) };
            for client in 0..clients {
                proxy.send(minute, &format!("honest{client}"), bytes);
            }
            for _ in 0..10 {
                names += 1;
                proxy.send(minute + 1, &format!("hostile{names}"), 10);
            }
            proxy.pass(60);
        }
        let named = proxy.named();
        assert!(named.len() <= 20, "{named:?}");
        for client in 0..5 {
            assert!(named.contains(&format!("honest{client}")), "{client}: {named:?}");
        }
    }

    #[test]
    fn one_name_after_the_other_does_not_take_all_of_them_either() {
        let mut proxy = Proxy::new(1, 20);
        for minute in 0..7 * 24 * 60 {
            proxy.send(0, "honest", 900);
            proxy.send(0, &format!("hostile{}", minute / 60), 100);
            if minute > 6 * 24 * 60 {
                proxy.send(0, "late", 150);
            }
            proxy.pass(60);
        }
        let named = proxy.named();
        assert!(named.contains("late"), "{named:?}");
        assert!(named.len() <= 12, "{named:?}");
    }

    #[test]
    fn a_store_that_fails_or_holds_something_else_gives_no_names() {
        let proxy = Proxy::new(1, 10);
        proxy.store.set(&proxy.workers[0].key, b"{\"named\":1}", NEW_KEY).unwrap();
        let mut proxy = proxy;
        for _ in 0..5 {
            assert!(!proxy.send(0, "a", 10));
            proxy.pass(5);
        }
    }

    #[test]
    fn zero_clients_cost_and_name_nothing() {
        let mut proxy = Proxy::new(1, 0);
        for _ in 0..5 {
            assert!(!proxy.send(0, "a", 10));
            proxy.pass(5);
        }
        assert_eq!(proxy.store.get(&proxy.workers[0].key, true), Ok(None));
    }

    #[test]
    fn what_was_sent_counts_half_after_an_hour() {
        let sent = Sums(BTreeMap::from([("a".to_owned(), 1 << 40), ("b".to_owned(), 3)]));
        let mut shared = Shared { at: START.as_secs(), total: 1 << 41, sent, ..Shared::default() };
        for minute in 1..=60 {
            shared.decay(START + Nanos::from_secs(60 * minute));
        }
        let share = shared.total as f64 / (1_u64 << 41) as f64;
        assert!((0.49..0.51).contains(&share), "{share}");
        assert_eq!(shared.sent.0.keys().collect::<Vec<_>>(), ["a"]);
        // A clock that is set back changes nothing, and one that is set ahead forgets.
        let total = shared.total;
        shared.decay(START);
        assert_eq!((shared.total, shared.at), (total, START.as_secs()));
        shared.decay(START + Nanos::from_secs(1_000_000));
        assert_eq!((shared.total, shared.sent.0.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn there_are_never_more_names_than_allowed_and_none_is_lost(
            most in 0_usize..6,
            steps in proptest::collection::vec((0_usize..3, 0_u8..40, 0_u64..1000, 0_u64..400), 0..300),
        ) {
            let mut proxy = Proxy::new(3, most);
            let mut before = BTreeSet::new();
            for (worker, client, bytes, seconds) in steps {
                let named = proxy.send(worker, &format!("c{client}"), bytes);
                proxy.pass(seconds);
                let after = proxy.named();
                prop_assert!(after.len() <= most && after.is_superset(&before));
                let name = format!("c{client}");
                prop_assert!(!named || after.contains(&name));
                before = after;
            }
        }

        #[test]
        fn sums_are_never_too_high_nor_much_too_low(
            added in proptest::collection::vec((0_u8..30, 0_u64..100), 0..200),
            most in 1_usize..20,
        ) {
            let (mut sums, mut exact) = (Sums::default(), BTreeMap::<String, u64>::new());
            for (name, bytes) in &added {
                sums.add(&name.to_string(), *bytes, most);
                *exact.entry(name.to_string()).or_default() += bytes;
            }
            prop_assert!(sums.0.len() <= most);
            let total: u64 = exact.values().sum();
            for (name, exact) in exact {
                let sum = sums.0.get(&name).copied().unwrap_or_default();
                prop_assert!(sum <= exact && exact - sum <= total / most as u64, "{name}: {sum} of {exact}");
            }
        }
    }
}

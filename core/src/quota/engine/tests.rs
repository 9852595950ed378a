//! Several replicas and one engine, simulated. The engine is a model of the script; tests/test_shared_quotas.py has real
//! ones.

#![cfg(not(target_arch = "wasm32"))]

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::super::bucket_id::BucketId;
use super::super::dimension::{Amounts, Dimension, Rates};
use super::super::ledger::{Charge, Receipt};
use super::super::memory_store::MemoryStore;
use super::super::tier::Tier;
use super::script::{JOIN, SCRIPT, SHA1};
use super::*;
use proptest::prelude::*;

const MS: Nanos = Nanos::from_millis(1);
const START: Timestamp = Timestamp::from_secs(1_000_000);

/// What the engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Connections are refused.
    Down,
    /// Nothing is answered until the proxy gives up.
    Silent,
    /// Every command has this error.
    Error(&'static str),
}

/// A model of Valkey with the script.
struct Valkey {
    mode: Mode,
    has_script: bool,
    keys: BTreeMap<Vec<u8>, (Timestamp, Vec<f64>)>,
    /// Replicas with a hash of their limits, and when they came last.
    replicas: BTreeMap<Vec<u8>, (Vec<u8>, Timestamp)>,
    /// All that was ever reported.
    reported: f64,
    password: Option<&'static str>,
}

impl Valkey {
    fn serve(&mut self, mut body: &[u8], now: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        let mut signed_in = self.password.is_none();
        while !body.is_empty() {
            let arguments = arguments(&mut body);
            let name = arguments[0].as_slice();
            match (name, self.mode) {
                (b"QUIT", _) => {
                    out.extend(b"+OK\r\n");
                    assert!(body.is_empty());
                    return out;
                }
                (b"AUTH", _) => {
                    signed_in = Some(arguments[1].as_slice()) == self.password.map(str::as_bytes);
                    out.extend(if signed_in { &b"+OK\r\n"[..] } else { b"-WRONGPASS invalid password\r\n" });
                }
                _ if !signed_in => out.extend(b"-NOAUTH Authentication required.\r\n"),
                (_, Mode::Error(error)) => out.extend(format!("-{error}\r\n").as_bytes()),
                (b"EVAL", _) if arguments[1] == JOIN.as_bytes() => {
                    out.extend(b"$16\r\n");
                    out.extend(self.join(&arguments[2..], now));
                    out.extend(b"\r\n");
                }
                (b"EVALSHA", _) if !self.has_script => out.extend(b"-NOSCRIPT No matching script.\r\n"),
                (b"EVALSHA" | b"EVAL", _) => {
                    let script = if name == b"EVAL" { SCRIPT } else { SHA1 };
                    assert_eq!(arguments[1], script.as_bytes());
                    self.has_script = true;
                    let answer = self.run(&arguments[2..], now);
                    out.extend(format!("${}\r\n", answer.len()).as_bytes());
                    out.extend(&answer);
                    out.extend(b"\r\n");
                }
                _ => panic!("{}", name.escape_ascii()),
            }
        }
        panic!("a call ends with QUIT");
    }

    fn join(&mut self, arguments: &[Vec<u8>], now: Timestamp) -> Vec<u8> {
        assert_eq!((arguments.len(), arguments[0].as_slice()), (3, &b"1"[..]));
        assert!(arguments[1].starts_with(b"otlp-gate:{"));
        let (name, limits) = arguments[2].split_at(8);
        self.replicas.insert(name.to_vec(), (limits.to_vec(), now));
        self.replicas.retain(|_, (_, since)| now.since(*since) < Nanos::from_secs(15));
        let others = self.replicas.values().filter(|(other, _)| other != limits).count();
        [self.replicas.len(), others].map(|count| (count as f64).to_le_bytes()).concat()
    }

    fn run(&mut self, arguments: &[Vec<u8>], now: Timestamp) -> Vec<u8> {
        let count: usize = core::str::from_utf8(&arguments[0]).unwrap().parse().unwrap();
        let keys = &arguments[1..=count];
        let floats = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect()
        };
        let (rates, body) = (floats(&arguments[count + 1]), floats(&arguments[count + 2]));
        assert_eq!(body.len(), 2 * rates.len() * count);
        let mut answer = Vec::new();
        for (key, reported) in keys.iter().zip(body.chunks_exact(2 * rates.len())) {
            assert!(key.starts_with(b"otlp-gate:{"));
            let old = self.keys.remove(key);
            let mut new = Vec::new();
            for (at, (rate, pair)) in rates.iter().zip(reported.chunks_exact(2)).enumerate() {
                self.reported += pair[0];
                let debt = match &old {
                    Some((since, debts)) => {
                        let gone = now.since(*since).get() as f64 / 1e9;
                        (debts[at] - gone * rate).max(0.0) + pair[0]
                    }
                    None => pair[1],
                };
                new.push(debt.max(0.0));
            }
            answer.extend(new.iter().flat_map(|debt| debt.to_le_bytes()));
            if new.iter().any(|debt| *debt > 0.0) {
                self.keys.insert(key.clone(), (now, new));
            }
        }
        answer
    }
}

/// Reads a command as the engine does.
fn arguments(body: &mut &[u8]) -> Vec<Vec<u8>> {
    let count = length(body, b'*');
    let argument = |_| {
        let len = length(body, b'$');
        let (argument, rest) = body.split_at(len);
        *body = rest.strip_prefix(b"\r\n").unwrap();
        argument.to_vec()
    };
    (0..count).map(argument).collect()
}

fn length(body: &mut &[u8], kind: u8) -> usize {
    let end = body.iter().position(|byte| *byte == b'\r').unwrap();
    let (line, rest) = body.split_at(end);
    *body = &rest[2..];
    assert_eq!(line[0], kind);
    core::str::from_utf8(&line[1..]).unwrap().parse().unwrap()
}

/// A worker of a replica.
struct Worker {
    engine: Rc<Engine>,
    share: Rc<Share>,
}

/// A call or its answer on the way.
struct OnTheWay {
    arrives: Timestamp,
    replica: usize,
    worker: usize,
    number: u32,
    body: Vec<u8>,
    answered: bool,
}

struct Simulation {
    tier: Tier,
    stores: Vec<MemoryStore>,
    workers: Vec<Vec<Worker>>,
    valkey: Valkey,
    /// How long a message to the engine or back takes.
    delay: Nanos,
    on_the_way: VecDeque<OnTheWay>,
    now: Timestamp,
    calls: u32,
    /// What one bucket would owe that all replicas had in common, in 10^-9 units.
    exact: u128,
    admitted: u64,
    throttled: u64,
    /// By replica: admitted and neither answered nor failed, by an upper bound; and the most of that.
    open: Vec<(VecDeque<(Timestamp, u64)>, u64)>,
    news: Vec<News>,
}

const CLIENT: &str = "client";
const GROUP: [&[u8]; 3] = [b"gateway", b"otel/gate", b""];

impl Simulation {
    fn new(replicas: usize, workers: usize, rate: u64, burst: Duration) -> Self {
        let tier = Tier::new("t", burst, Rates::UNLIMITED.with(Dimension::Items, Some(rate)));
        let worker = |_| {
            let engine = Rc::new(Engine::new("engine", None));
            engine.join(&GROUP, BucketId::of(&[b"limits"]), false);
            let share = Share::new(&engine, &GROUP, b"client", "otlp-gate/otel/gate");
            Worker { share: Rc::new(share), engine }
        };
        Simulation {
            tier,
            stores: (0..replicas).map(|_| MemoryStore::default()).collect(),
            workers: (0..replicas).map(|_| (0..workers).map(worker).collect()).collect(),
            valkey: Valkey {
                mode: Mode::Up,
                has_script: false,
                keys: BTreeMap::new(),
                replicas: BTreeMap::new(),
                reported: 0.0,
                password: None,
            },
            delay: MS,
            on_the_way: VecDeque::new(),
            now: START,
            calls: 0,
            exact: 0,
            admitted: 0,
            throttled: 0,
            open: vec![(VecDeque::new(), 0); replicas],
            news: Vec::new(),
        }
    }

    /// From now on the replicas divide the rates among them while the engine is away.
    fn divide(&self) {
        let engines = self.workers.iter().flatten().map(|worker| &worker.engine);
        engines.for_each(|engine| engine.join(&GROUP, BucketId::of(&[b"limits"]), true));
    }

    fn capacity(&self) -> u64 {
        self.tier.limits[Dimension::Items].unwrap().capacity
    }

    fn rate(&self) -> u64 {
        self.tier.limits[Dimension::Items].unwrap().rate
    }

    fn charge(&mut self, replica: usize, worker: usize, items: u64) -> Option<Receipt> {
        let amounts = Amounts::ZERO.with(Dimension::Items, items);
        let ledger = Ledger::shared(&self.stores[replica], &self.workers[replica][worker].share);
        match ledger.charge(BucketId::of(&[CLIENT.as_bytes()]), &self.tier, &amounts, self.now) {
            Charge::Granted(receipt) => {
                self.admitted += items;
                self.exact += u128::from(items) * 1_000_000_000;
                self.open[replica].0.push_back((self.now, items));
                Some(receipt)
            }
            _ => {
                self.throttled += items;
                None
            }
        }
    }

    fn refund(&mut self, replica: usize, worker: usize, items: u64, receipt: Receipt) {
        let amounts = Amounts::ZERO.with(Dimension::Items, items);
        let ledger = Ledger::shared(&self.stores[replica], &self.workers[replica][worker].share);
        ledger.refund(BucketId::of(&[CLIENT.as_bytes()]), &self.tier, &amounts, receipt, self.now);
        self.exact = self.exact.saturating_sub(u128::from(items) * 1_000_000_000);
    }

    /// A millisecond passes. Workers tick one after the other.
    fn step(&mut self) {
        self.now += MS;
        self.exact = self.exact.saturating_sub(u128::from(self.rate()) * u128::from(MS.get()));
        let millis = self.now.since(START).get() / MS.get();
        let ticks = TICK.get() / MS.get();
        for replica in 0..self.workers.len() {
            for worker in 0..self.workers[replica].len() {
                if (millis + 7 * replica as u64 + 3 * worker as u64).is_multiple_of(ticks) {
                    let engine = Rc::clone(&self.workers[replica][worker].engine);
                    if let Some(call) = engine.tick(&self.stores[replica], self.now) {
                        self.call(replica, worker, call);
                    }
                }
            }
        }
        self.deliver();
        // A report is due after a second at most, and ends after its time-out at most.
        let oldest = self.now - (Nanos::from_secs(1) + CALL_TIMEOUT + self.delay * 2 + TICK * 2);
        for (open, most) in &mut self.open {
            while open.front().is_some_and(|(at, _)| *at < oldest) {
                open.pop_front();
            }
            *most = (*most).max(open.iter().map(|(_, items)| items).sum());
        }
    }

    fn call(&mut self, replica: usize, worker: usize, call: Call) {
        let (store, engine) = (&self.stores[replica], Rc::clone(&self.workers[replica][worker].engine));
        let number = self.calls;
        self.calls += 1;
        let body = call.body.clone();
        engine.sent(call, Some(number), store, self.now);
        let (after, answered) = match self.valkey.mode {
            Mode::Silent => (CALL_TIMEOUT, true),
            Mode::Down => (MS, true),
            _ => (self.delay, false),
        };
        let body = if answered {
            b"upstream connect error or disconnect/reset before headers".to_vec()
        } else {
            body
        };
        self.on_the_way.push_back(OnTheWay {
            arrives: self.now + after,
            replica,
            worker,
            number,
            body,
            answered,
        });
    }

    fn deliver(&mut self) {
        while let Some(at) = self.on_the_way.iter().position(|it| it.arrives <= self.now) {
            let Some(mut it) = self.on_the_way.remove(at) else { return };
            if !it.answered {
                it.body = self.valkey.serve(&it.body, self.now);
                (it.answered, it.arrives) = (true, self.now + self.delay);
                self.on_the_way.push_back(it);
                continue;
            }
            let engine = Rc::clone(&self.workers[it.replica][it.worker].engine);
            let answer = engine.answered(it.number, &it.body, &self.stores[it.replica], self.now).unwrap();
            self.news.extend(answer.news);
        }
    }

    /// What all but one replica may have admitted that the others did not know.
    fn unknown(&self) -> u64 {
        let most = self.open.iter().map(|(_, most)| *most).max().unwrap_or_default();
        most * (self.stores.len() as u64 - 1)
    }

    /// Asserts the bound: over any time `t`, at most `C + R t + (N-1) x` is admitted.
    fn assert_bounded(&self) {
        let most = u128::from(self.capacity() + self.unknown() + 1) * 1_000_000_000;
        assert!(self.exact <= most, "{} of {} are owed", self.exact / 1_000_000_000, most / 1_000_000_000);
    }

    /// Sends `rate` items per second for a time, in requests of `items`, to the replica that `replica` returns.
    fn load(&mut self, millis: u64, rate: u64, items: u64, mut replica: impl FnMut(u64) -> usize) {
        let (mut sent, workers) = (0, self.workers[0].len() as u64);
        for milli in 0..millis {
            while sent * 1000 < rate * (milli + 1) {
                let to = replica(sent / items);
                self.charge(to, (sent / items / 7 % workers) as usize, items);
                sent += items;
            }
            self.step();
        }
    }

    fn share_of(&self, millis: u64, admitted: u64) -> f64 {
        admitted as f64 * 1000.0 / (self.rate() * millis) as f64
    }
}

#[test]
fn three_times_the_load_over_four_replicas_is_admitted_once() {
    let mut it = Simulation::new(4, 2, 500, Duration::from_secs(4));
    it.load(30_000, 1500, 5, |n| (n % 4) as usize);
    // 2000 at once, and 500 a second.
    let allowed = 2000 + 500 * 30;
    assert!(
        it.admitted <= allowed * 102 / 100 && it.admitted >= allowed * 98 / 100,
        "{} of {allowed}",
        it.admitted
    );
    let before = it.admitted;
    it.load(20_000, 1500, 5, |n| (n % 4) as usize);
    let share = it.share_of(20_000, it.admitted - before);
    assert!((0.99..1.01).contains(&share), "{share}");
    it.assert_bounded();
    assert_eq!(it.news, vec![News::Up; 8]);
}

#[test]
fn bursts_on_all_replicas_at_once_are_paid_back() {
    let mut it = Simulation::new(4, 1, 500, Duration::from_secs(4));
    for replica in 0..4 {
        assert!(it.charge(replica, 0, 2000).is_some());
    }
    it.step();
    it.assert_bounded();
    // 6000 too much: nothing is admitted for 12 s.
    it.load(1000, 1, 1, |_| 0);
    let before = it.admitted;
    it.load(10_000, 1500, 5, |n| (n % 4) as usize);
    assert!(it.admitted - before <= 30, "{}", it.admitted - before);
    it.load(20_000, 1500, 5, |n| (n % 4) as usize);
    let allowed = 2000 + 500 * 31;
    assert!(it.admitted <= allowed * 102 / 100, "{} of {allowed}", it.admitted);
}

#[test]
fn a_client_that_hops_gets_its_quota_once() {
    let mut it = Simulation::new(4, 2, 500, Duration::from_secs(4));
    it.load(30_000, 1500, 5, |n| (n / 200 % 4) as usize);
    let allowed = 2000 + 500 * 30;
    assert!(
        it.admitted <= allowed * 103 / 100 && it.admitted >= allowed * 98 / 100,
        "{} of {allowed}",
        it.admitted
    );
}

#[test]
fn a_client_that_stays_on_one_replica_gets_all_of_its_quota() {
    let mut it = Simulation::new(4, 2, 500, Duration::from_secs(4));
    it.load(30_000, 1500, 5, |n| if n.is_multiple_of(20) { 1 } else { 0 });
    let allowed = 2000 + 500 * 30;
    assert!(
        it.admitted <= allowed * 102 / 100 && it.admitted >= allowed * 98 / 100,
        "{} of {allowed}",
        it.admitted
    );
}

#[test]
fn nobody_within_the_quota_is_throttled() {
    for replicas in [1, 2, 4, 8] {
        let mut it = Simulation::new(replicas, 2, 500, Duration::from_secs(4));
        it.load(20_000, 495, 5, |n| n as usize % replicas);
        assert_eq!(it.throttled, 0, "{replicas}");
        // Bursts of half a bucket, each on another replica.
        for burst in 0..8 {
            for _ in 0..10 {
                it.charge(burst % replicas, 0, 100);
            }
            for _ in 0..2100 {
                it.step();
            }
        }
        assert_eq!(it.throttled, 0, "{replicas}");
    }
}

#[test]
fn a_refund_on_one_replica_counts_on_the_others() {
    let mut it = Simulation::new(2, 1, 100, Duration::from_secs(10));
    let receipts: Vec<_> = (0..10).map(|_| it.charge(0, 0, 100).unwrap()).collect();
    it.load(100, 1, 1, |_| 0);
    // Replica 1 admits what it does not know to be too much, and learns of it.
    assert!(it.charge(1, 0, 100).is_some());
    it.load(200, 1, 1, |_| 0);
    assert!(it.charge(1, 0, 100).is_none());
    for receipt in receipts {
        it.refund(0, 0, 100, receipt);
    }
    // The throttled client's bucket asks the engine.
    for _ in 0..300 {
        it.step();
    }
    assert!(it.charge(1, 0, 800).is_some());
    it.assert_bounded();
}

#[test]
fn while_the_engine_is_away_each_replica_has_its_own_quota_and_nothing_is_made_up_for_later() {
    for (mode, emptied) in [
        (Mode::Down, false),
        (Mode::Down, true),
        (Mode::Silent, false),
        (Mode::Error("READONLY You can't write against a read only replica."), false),
    ] {
        let mut it = Simulation::new(4, 2, 500, Duration::from_secs(4));
        let spread = |n: u64| (n % 4) as usize;
        it.load(8000, 1500, 5, spread);
        it.valkey.mode = mode;
        let before = it.admitted;
        it.load(10_000, 1500, 5, spread);
        // No worse than without an engine: each replica admits its own rate, a third of the load here.
        let share = it.share_of(10_000, it.admitted - before);
        assert!((2.0..3.1).contains(&share), "{mode:?}: {share}");
        assert!(matches!(it.news.last(), Some(News::Away(_))), "{mode:?}");
        it.valkey.mode = Mode::Up;
        if emptied {
            it.valkey.keys.clear();
            it.valkey.has_script = false;
        }
        // The replicas had paid their debts off, so there is one burst more.
        let before = it.admitted;
        it.load(11_000, 1500, 5, spread);
        let after = it.admitted - before;
        assert!((500 * 10..500 * 12 + 2200).contains(&after), "{mode:?}, right again: {after}");
        let before = it.admitted;
        it.load(10_000, 1500, 5, spread);
        let share = it.share_of(10_000, it.admitted - before);
        assert!((0.98..1.02).contains(&share), "{mode:?}, later: {share}");
        assert_eq!(it.news.iter().filter(|news| **news == News::Up).count(), 16, "{mode:?}");
        // The log has one line for each worker.
        assert_eq!(it.news.len(), 24, "{mode:?}");
    }
}

#[test]
fn replicas_that_divide_the_rates_admit_one_quota_together_while_the_engine_is_away() {
    for replicas in [1, 2, 4] {
        let mut it = Simulation::new(replicas, 2, 500, Duration::from_secs(4));
        it.divide();
        let spread = |n: u64| n as usize % replicas;
        it.load(8000, 1500, 5, spread);
        it.valkey.mode = Mode::Down;
        let before = it.admitted;
        it.load(20_000, 1500, 5, spread);
        let share = it.share_of(20_000, it.admitted - before);
        assert!((0.97..1.05).contains(&share), "{replicas}: {share}");
        it.valkey.mode = Mode::Up;
        // What the engine lacks may be one burst more.
        it.load(11_000, 1500, 5, spread);
        let before = it.admitted;
        it.load(10_000, 1500, 5, spread);
        let share = it.share_of(10_000, it.admitted - before);
        assert!((0.98..1.02).contains(&share), "{replicas}, later: {share}");
    }
}

#[test]
fn what_was_earned_before_the_engine_went_away_is_not_divided() {
    let mut it = Simulation::new(8, 1, 100, Duration::from_secs(4));
    it.divide();
    // Seen by all replicas that are there.
    it.load(6000, 10, 1, |n| (n % 8) as usize);
    for _ in 0..4 {
        assert!(it.charge(0, 0, 95).is_some());
    }
    // The client owes nearly its whole burst, and time pays it off before anything is divided.
    for _ in 0..3900 {
        it.step();
    }
    it.valkey.mode = Mode::Down;
    it.load(1500, 10, 1, |_| 0);
    assert_eq!(it.workers[0][0].engine.divided().map(|(_, replicas)| replicas), Some(8));
    // A message that fits into a whole burst fits.
    assert!(it.charge(0, 0, 380).is_some());
    // From now on an eighth is earned.
    it.load(1000, 1, 1, |_| 1);
    assert!(it.charge(0, 0, 60).is_none());
    assert!(it.charge(0, 0, 12).is_some());
}

#[test]
fn replicas_are_counted_while_they_are_there_with_those_that_have_other_limits() {
    let mut it = Simulation::new(3, 2, 500, Duration::from_secs(4));
    it.workers[2].iter().for_each(|worker| worker.engine.join(&GROUP, BucketId::of(&[b"other"]), false));
    it.load(6000, 10, 5, |_| 0);
    let count = |it: &Simulation| it.workers[0][0].engine.replicas.get();
    assert_eq!((count(&it), it.valkey.replicas.len()), (3, 3));
    let others = |limits: &[u8]| it.valkey.replicas.values().filter(|(of, _)| of == limits).count();
    assert_eq!(others(&BucketId::of(&[b"other"]).0[..8]), 1);
    // One that has ended is no longer counted after a while.
    it.workers[2].clear();
    it.load(21_000, 10, 5, |_| 0);
    assert_eq!(count(&it), 2);
}

#[test]
fn everything_is_reported_exactly_once() {
    let mut it = Simulation::new(2, 3, 500, Duration::from_secs(4));
    it.delay = MS * 30;
    // At first little, which is reported late, then at once much, by another worker.
    for n in 0..400 {
        it.charge(n % 2, n % 3, 1 + (n as u64 % 7) * 20);
        for _ in 0..5 + n % 37 {
            it.step();
        }
    }
    for _ in 0..3000 {
        it.step();
    }
    assert!(it.throttled > 0);
    assert_eq!(it.valkey.reported, it.admitted as f64);
}

#[test]
fn an_engine_that_fails_half_of_the_time_forgives_nothing() {
    let mut it = Simulation::new(1, 2, 500, Duration::from_secs(4));
    for second in 0..40 {
        it.valkey.mode = if second % 2 == 0 { Mode::Error("BUSY") } else { Mode::Up };
        it.load(700, 1500, 5, |_| 0);
    }
    let allowed = 2000 + 500 * 28;
    assert!(it.admitted <= allowed, "{} of {allowed}", it.admitted);
}

#[test]
fn an_engine_that_lost_everything_gets_it_from_the_replicas() {
    let mut it = Simulation::new(4, 2, 500, Duration::from_secs(4));
    it.load(20_000, 1500, 5, |n| (n % 4) as usize);
    it.valkey.keys.clear();
    it.valkey.has_script = false;
    let before = it.admitted;
    it.load(5000, 1500, 5, |n| (n % 4) as usize);
    let share = it.share_of(5000, it.admitted - before);
    assert!((0.98..1.02).contains(&share), "{share}");
    it.assert_bounded();
}

#[test]
fn a_password_that_the_engine_does_not_know_is_reported_once() {
    let mut it = Simulation::new(1, 1, 500, Duration::from_secs(4));
    it.valkey.password = Some("right");
    let sign_in = |it: &mut Simulation, password: &str| {
        let credentials = Credentials { user: None, password: password.to_owned() };
        let engine = Rc::new(Engine::new("engine", Some(credentials)));
        engine.join(&GROUP, BucketId::of(&[b"limits"]), false);
        let share = Rc::new(Share::new(&engine, &GROUP, b"client", "otlp-gate/otel/gate"));
        it.workers[0][0] = Worker { engine, share };
    };
    sign_in(&mut it, "wrong");
    it.load(1000, 100, 5, |_| 0);
    assert_eq!(it.news, [News::Away("WRONGPASS invalid password".to_owned())]);
    sign_in(&mut it, "right");
    it.load(6000, 450, 5, |_| 0);
    assert_eq!(it.news.last(), Some(&News::Up));
    assert!(!it.valkey.keys.is_empty());
}

#[test]
fn debts_in_the_engine_are_dropped_when_they_are_paid_off() {
    let mut it = Simulation::new(2, 1, 500, Duration::from_secs(4));
    it.load(1000, 100, 5, |n| (n % 2) as usize);
    it.load(2500, 1, 1, |_| 0);
    assert!(it.valkey.keys.len() <= 1);
    let queued: usize = it.workers.iter().flatten().map(|worker| worker.engine.queue.borrow().len()).sum();
    assert!(queued <= 2, "{queued}");
}

#[test]
fn other_limits_and_other_gates_have_other_keys() {
    let engine = Rc::new(Engine::new("engine", None));
    let key = |gate: &[u8], kind: &[u8], id, tier: &Tier| {
        let share = Share::new(&engine, &[b"gateway", gate], kind, "p");
        share.key(id, &share.class(tier))
    };
    let tier =
        |rate| Tier::new("t", Duration::from_secs(1), Rates::UNLIMITED.with(Dimension::Items, Some(rate)));
    let id = BucketId::of(&[b"a"]);
    let keys: std::collections::BTreeSet<String> = [
        key(b"one", b"client", id, &tier(1)),
        key(b"two", b"client", id, &tier(1)),
        key(b"one", b"total", id, &tier(1)),
        key(b"one", b"client", id, &tier(2)),
        key(b"one", b"client", BucketId::of(&[b"b"]), &tier(1)),
    ]
    .into();
    assert_eq!(keys.len(), 5);
    assert!(keys.iter().all(|key| key.len() == "otlp-gate:{}:".len() + 12 + 22), "{keys:?}");
    let renamed = Tier { name: "other".to_owned(), ..tier(1) };
    assert_eq!(key(b"one", b"client", id, &renamed), key(b"one", b"client", id, &tier(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the load, the delays and the engine do, no more is admitted than the bound, and without the engine no
    /// more than all replicas on their own would admit.
    #[test]
    fn the_bound_holds(
        replicas in 1..5usize, workers in 1..3usize, rate in 20..2000u64, burst in 200..5000u64, delay in 1..60u64,
        steps in prop::collection::vec((0..5usize, 0..4u8, 0..100u64, 0..60u64, 0..40u8), 1..120),
    ) {
        let mut it = Simulation::new(replicas, workers, rate, Duration::from_millis(burst));
        it.delay = MS * delay;
        let (mut lost, mut receipts) = (false, VecDeque::new());
        for (replica, what, share, millis, event) in steps {
            let (replica, worker) = (replica % replicas, share as usize % workers);
            let items = (it.capacity() * share / 100).max(1);
            match what {
                0..3 => if let Some(receipt) = it.charge(replica, worker, items) {
                    receipts.push_back((replica, worker, items, receipt));
                },
                _ => if let Some((replica, worker, items, receipt)) = receipts.pop_front() {
                    // The exact debt with refunds is not compared.
                    lost = true;
                    it.refund(replica, worker, items, receipt);
                },
            }
            match event {
                0 => (it.valkey.mode, lost) = (Mode::Down, true),
                1 => (it.valkey.mode, lost) = (Mode::Silent, true),
                2 => (it.valkey.mode, lost) = (Mode::Error("READONLY"), true),
                3 => { it.valkey.keys.clear(); lost = true; },
                4 => it.valkey.has_script = false,
                5..10 => it.valkey.mode = Mode::Up,
                _ => {}
            }
            for _ in 0..millis {
                it.step();
            }
            if !lost {
                it.assert_bounded();
            }
            let time = it.now.since(START).get() as u128;
            // Refunds allow twice as much.
            let most = (u128::from(it.capacity()) * 1_000_000_000 + u128::from(rate) * time) * replicas as u128 * 2;
            prop_assert!(u128::from(it.admitted) * 1_000_000_000 <= most);
        }
        // Everything settles: queues drain, and what was admitted was reported once.
        it.valkey.mode = Mode::Up;
        for _ in 0..3500 {
            it.step();
        }
        for engine in it.workers.iter().flatten().map(|worker| &worker.engine) {
            prop_assert_eq!(engine.queue.borrow().len(), 0);
            prop_assert!(engine.flights.borrow().len() <= 1, "a question whether the engine is there");
            prop_assert!(engine.rejects.get() || engine.up.get() == Some(true));
        }
        if !lost {
            prop_assert_eq!(it.valkey.reported, it.admitted as f64);
        }
    }

    #[test]
    fn no_answer_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..100), cut in 0..200usize) {
        let mut it = Simulation::new(1, 1, 100, Duration::from_secs(1));
        it.charge(0, 0, 50);
        let engine = Rc::clone(&it.workers[0][0].engine);
        let call = engine.tick(&it.stores[0], it.now).unwrap();
        let whole = it.valkey.serve(&call.body, it.now);
        engine.sent(call, Some(1), &it.stores[0], it.now);
        let mut answer = whole.get(..cut.min(whole.len())).unwrap().to_vec();
        answer.extend(body);
        prop_assert!(engine.answered(2, &answer, &it.stores[0], it.now).is_none());
        prop_assert!(engine.answered(1, &answer, &it.stores[0], it.now).is_some());
        prop_assert!(engine.answered(1, &answer, &it.stores[0], it.now).is_none());
    }
}

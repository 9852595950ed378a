//! Quotas over several replicas: an engine (Valkey or Redis) that adds up what all of them charge.
//!
//! Every replica has the whole bucket and decides alone, so no request waits for the engine. What a bucket has charged
//! and the engine does not know is a part of its record ([`Unreported`](super::unreported)). A worker reports the
//! buckets of its queue in batches. The engine pays its debts off by its own clock, adds the amounts and answers the
//! debts; a bucket then owes what the engine answered and what it has not reported yet.
//!
//! Let a bucket have the capacity `C` and the rate `R`, and `N` replicas. In any time `t` at most `C + R t + (N-1) x` is
//! admitted, where `x` is what one replica admits until its report is answered. What was too much is a debt, and is paid
//! back.
//!
//! While the engine is away, each replica goes on with its own bucket, at the whole rate or at the rate divided by the
//! number of replicas, which the engine counts ([`script::JOIN`]). What it charges then is never reported: it would
//! throttle clients for what they sent long ago. An engine that lost its debts takes those of the first replica that
//! reports a bucket.
//!
//! Nothing here calls the proxy: [`Engine::tick`] returns a [`Call`], and its result comes back by [`Engine::sent`] and
//! [`Engine::answered`].

mod call;
mod queue;
mod resp;
mod script;
mod share;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use call::{Call, Credentials};
pub use resp::{Reply, replies};
pub use share::Share;

use super::bucket_id::BucketId;
use super::ledger::Ledger;
use super::store::{NEW_KEY, Store};
use crate::time::{Nanos, Timestamp};
use call::{Flight, Group};
use queue::{Entry, Queue};

/// How often a worker looks for due reports.
pub const TICK: Nanos = Nanos::from_millis(20);
/// How long the proxy waits for an answer.
pub const CALL_TIMEOUT: Nanos = Nanos::from_millis(500);
/// A call whose end the proxy has not reported by then is lost: its plugin was deleted.
const LOST: Nanos = Nanos::from_millis(1500);
/// How many calls a worker has on their way at a time.
const FLIGHTS: usize = 4;
/// How often a worker asks whether the engine is there, and how many replicas are.
const JOIN_INTERVAL: Nanos = Nanos::from_secs(5);
/// The key of what a replica is known by, in the store that its workers share.
const REPLICA_KEY: &str = "otlp-gate/replica";
/// How long a worker waits after the first failure. It waits twice as long after each further one.
const BACK_OFF: Nanos = Nanos::from_millis(100);
/// The longest wait after a failure. A failed try costs less than a millisecond.
const LONGEST_BACK_OFF: Nanos = Nanos::from_millis(800);

/// One worker's connection to an engine.
#[derive(Debug)]
pub struct Engine {
    cluster: String,
    credentials: Option<Credentials>,
    queue: RefCell<Queue>,
    flights: RefCell<Vec<(u32, Flight)>>,
    /// Reports for which the engine lacks the script. They are sent with it at the next tick: a proxy does not take a
    /// call while it delivers the answer to another one.
    again: RefCell<Vec<Group>>,
    failures: Cell<u32>,
    /// Whether the last failure was an engine that answers, but rejects reports.
    rejects: Cell<bool>,
    /// When to try again after a failure.
    retry: Cell<Timestamp>,
    /// Since when it is away.
    away_since: Cell<Timestamp>,
    /// The list of replicas that count together, which this one joins.
    list: RefCell<Option<List>>,
    /// Whether replicas divide the rates among them while it is away.
    divides: Cell<bool>,
    /// How many replicas there were at the last answer.
    replicas: Cell<u32>,
    /// When it was last asked that.
    joined: Cell<Timestamp>,
    /// Whether it was there at the last answer; `None` before the first.
    up: Cell<Option<bool>>,
}

/// A list of replicas in the engine.
#[derive(Debug, PartialEq, Eq)]
struct List {
    key: String,
    /// A hash of the limits of this replica.
    limits: [u8; 8],
}

/// How many replicas count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// Those that reported in the last 15 s.
    pub all: u32,
    /// Those of them that have other limits than this one.
    pub with_other_limits: u32,
}

/// What became of a call.
#[derive(Debug, Default)]
pub struct Answer {
    /// Whether the engine did what it was asked.
    pub works: bool,
    /// How many reports were answered.
    pub reported: u64,
    /// How many reports failed.
    pub failed: u64,
    /// How many reports found a bucket that owes more than its burst, by more than 2 percent.
    pub over: u64,
    /// How many replicas there are, if it was asked.
    pub replicas: Option<Replicas>,
    /// What changed.
    pub news: Option<News>,
}

/// A change of the engine's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It answers.
    Up,
    /// It does not answer, or with an error. The text says which.
    Away(String),
}

impl Engine {
    /// The engine behind this cluster of the proxy.
    pub fn new(cluster: impl Into<String>, credentials: Option<Credentials>) -> Self {
        Engine {
            cluster: cluster.into(),
            credentials,
            queue: RefCell::default(),
            flights: RefCell::default(),
            again: RefCell::default(),
            failures: Cell::new(0),
            rejects: Cell::new(false),
            retry: Cell::default(),
            away_since: Cell::default(),
            list: RefCell::default(),
            divides: Cell::new(false),
            replicas: Cell::new(0),
            joined: Cell::default(),
            up: Cell::new(None),
        }
    }

    /// The name of the proxy's cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Joins the replicas that count together. `limits` should be the same for all of them. `divides`: while the engine
    /// is away, they divide the rates among them.
    pub fn join(&self, group: &[&[u8]], BucketId(limits): BucketId, divides: bool) {
        let limits = limits.first_chunk().copied().unwrap_or_default();
        let list = Some(List { key: share::replicas_key(group), limits });
        if self.list.replace(list).as_ref() != self.list.borrow().as_ref() {
            self.joined.set(Timestamp::default());
        }
        self.divides.set(divides);
    }

    /// If replicas divide the rates now: since when, and by how many.
    pub(super) fn divided(&self) -> Option<(Timestamp, u32)> {
        let divided = self.divides.get() && self.failures.get() > 0 && self.replicas.get() > 1;
        divided.then(|| (self.away_since.get(), self.replicas.get()))
    }

    /// Whether charges are to be reported. While the engine is away they are not.
    pub(super) fn takes_reports(&self, now: Timestamp) -> bool {
        self.failures.get() == 0 || now >= self.retry.get()
    }

    fn queue(&self, entry: Entry) {
        self.queue.borrow_mut().push(entry);
    }

    /// The call that is due now. Give the proxy's number for it to [`Engine::sent`].
    pub fn tick<S: Store>(&self, store: &S, now: Timestamp) -> Option<Call> {
        self.end_lost_calls(store, now);
        let away = self.failures.get() > 0;
        if away && now < self.retry.get() {
            let due = self.queue.borrow_mut().due(now);
            for group in Group::collect(due, store, now) {
                forget(group, store, now);
            }
            return None;
        }
        let flights = self.flights.borrow().len();
        if flights >= if away { 1 } else { FLIGHTS } {
            return None;
        }
        let again = self.again.take();
        if !again.is_empty() {
            return Some(Call::new(self.credentials.as_ref(), None, again, true, now));
        }
        let due = self.queue.borrow_mut().due(now);
        let groups = Group::collect(due, store, now);
        let list = self.list.borrow();
        // Whether an engine takes reports again that has rejected them, only a report shows.
        let joins = (away || distance(now, self.joined.get()) >= JOIN_INTERVAL) && !self.rejects.get();
        let join = list.as_ref().filter(|_| joins).and_then(|list| list.join(store, now));
        if groups.is_empty() && join.is_none() {
            return None;
        }
        if join.is_some() {
            self.joined.set(now);
        }
        Some(Call::new(self.credentials.as_ref(), join, groups, false, now))
    }

    /// The proxy's number for a call; `None` if it could not call.
    pub fn sent<S: Store>(&self, call: Call, number: Option<u32>, store: &S, now: Timestamp) -> Answer {
        match number {
            Some(number) => {
                self.flights.borrow_mut().push((number, call.flight));
                Answer::default()
            }
            None => self.end(call.flight, b"the proxy has no such cluster", store, now),
        }
    }

    /// The answer to a call, or what the proxy returned instead. `None` for a call that is not of this engine.
    pub fn answered<S: Store>(&self, number: u32, body: &[u8], store: &S, now: Timestamp) -> Option<Answer> {
        let flight = {
            let mut flights = self.flights.borrow_mut();
            let at = flights.iter().position(|(of, _)| *of == number)?;
            flights.swap_remove(at).1
        };
        Some(self.end(flight, body, store, now))
    }

    fn end<S: Store>(&self, flight: Flight, body: &[u8], store: &S, now: Timestamp) -> Answer {
        let mut answer = Answer::default();
        let mut replies = replies(body);
        // An engine without a password answers it with an error, and everything else all the same.
        let mut error = self.credentials.as_ref().and_then(|_| match replies.next() {
            Some(Reply::Error(error)) => Some(error),
            _ => None,
        });
        let (mut again, mut works, mut rejects) = (false, false, false);
        if flight.joins {
            match replies.next() {
                Some(Reply::Bulk(counts)) => {
                    works = flight.groups.is_empty();
                    answer.replicas = Replicas::read(counts);
                    self.replicas.set(answer.replicas.map_or(0, |replicas| replicas.all));
                }
                Some(Reply::Error(text)) => error = error.or(Some(text)),
                _ => error = error.or(Some(body)),
            }
        }
        for group in flight.groups {
            match replies.next() {
                Some(Reply::Bulk(debts)) if debts.len() == group.answer_len() => {
                    works = true;
                    self.settle(group, debts, &mut answer, store, now);
                }
                Some(Reply::Error(text)) if text.starts_with(b"NOSCRIPT") && !flight.has_script => {
                    again = true;
                    self.again.borrow_mut().push(group);
                }
                reply => {
                    if let Some(Reply::Error(text)) = reply {
                        error = error.or(Some(text));
                        rejects = true;
                    }
                    answer.failed += group.reports.len() as u64;
                    forget(group, store, now);
                }
            }
        }
        if works {
            answer.works = true;
            self.failures.set(0);
            self.rejects.set(false);
            answer.news = (self.up.replace(Some(true)) != Some(true)).then_some(News::Up);
        } else if !again {
            self.fail(now);
            self.rejects.set(rejects);
            let reason = error.filter(|text| !text.is_empty()).unwrap_or(if body.is_empty() {
                b"no answer"
            } else {
                body
            });
            answer.news = (self.up.replace(Some(false)) != Some(false)).then(|| News::Away(readable(reason)));
        }
        answer
    }

    fn settle<S: Store>(&self, group: Group, debts: &[u8], answer: &mut Answer, store: &S, now: Timestamp) {
        let class = Rc::clone(&group.class);
        for (report, debts) in group.into_answers(debts) {
            let mut entry = report.entry;
            let (ticket, mut due) = (entry.ticket, None);
            let share = Rc::clone(&entry.share);
            answer.reported += 1;
            answer.over += u64::from(call::is_over(&class.tier, &debts));
            let ledger = Ledger::shared(store, &share);
            let written = ledger.reported(entry.id, entry.table, &class.tier, now, &mut |bucket| {
                due = None;
                if bucket.unreported.ticket != ticket {
                    return false;
                }
                due = bucket.settle(&class.tier, &report.amounts, &debts, now);
                entry.ticket = bucket.unreported.ticket;
                true
            });
            if let Some(due) = due.filter(|_| written) {
                entry.due = due;
                self.queue(entry);
            }
        }
    }

    fn fail(&self, now: Timestamp) {
        let failures = self.failures.get();
        if failures == 0 {
            self.away_since.set(now);
        }
        let wait = BACK_OFF * (1 << failures.min(10));
        self.failures.set(failures.saturating_add(1));
        self.retry.set(now + wait.min(LONGEST_BACK_OFF));
    }

    fn end_lost_calls<S: Store>(&self, store: &S, now: Timestamp) {
        let lost: Vec<Flight> = {
            let mut flights = self.flights.borrow_mut();
            let lost = |(_, flight): &mut (u32, Flight)| distance(now, flight.began) > LOST;
            flights.extract_if(.., lost).map(|(_, flight)| flight).collect()
        };
        for flight in lost {
            for group in flight.groups {
                forget(group, store, now);
            }
        }
    }
}

impl List {
    /// The key, and what this replica is known by.
    fn join<S: Store>(&self, store: &S, now: Timestamp) -> Option<(&str, [u8; 16])> {
        let mut member = [0; 16];
        for (to, from) in member.iter_mut().zip(replica(store, now)?.iter().chain(&self.limits)) {
            *to = *from;
        }
        Some((&self.key, member))
    }
}

impl Replicas {
    fn read(counts: &[u8]) -> Option<Replicas> {
        let (all, others) = counts.split_first_chunk()?;
        let number = |float: [u8; 8]| f64::from_le_bytes(float) as u32;
        Some(Replicas { all: number(*all), with_other_limits: number(others.try_into().ok()?) })
    }
}

/// What this replica is known by: the time when its first worker asked. All workers have the same.
fn replica<S: Store>(store: &S, now: Timestamp) -> Option<[u8; 8]> {
    let known = || store.get(REPLICA_KEY, true).ok().flatten().and_then(|(time, _)| time.try_into().ok());
    known().or_else(|| {
        store.set(REPLICA_KEY, &now.as_nanos().to_le_bytes(), NEW_KEY).ok()?;
        known()
    })
}

/// Ends the reports of buckets without an answer.
fn forget<S: Store>(group: Group, store: &S, now: Timestamp) {
    let tier = &group.class.tier;
    for report in group.reports {
        let entry = &report.entry;
        Ledger::shared(store, &entry.share).reported(entry.id, entry.table, tier, now, &mut |bucket| {
            let same = bucket.unreported.ticket == entry.ticket;
            if same {
                bucket.forget(&report.amounts, tier);
            }
            same
        });
    }
}

/// The time between two points, whichever is earlier: the clock may be set back.
fn distance(a: Timestamp, b: Timestamp) -> Nanos {
    a.since(b).max(b.since(a))
}

/// A text of the engine or the proxy for the log: its first characters, in one line of ASCII.
fn readable(text: &[u8]) -> String {
    let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' };
    text.iter().take(120).map(printable).collect()
}

//! The ledger: every client's bucket, in a store that all workers share.
//!
//! The store never frees a key, so the number of keys is bounded. A key holds a bucket set of up to eight
//! clients. Which set is a client's follows from its [`BucketId`] and the store's [`Salt`](super::Salt). Without the
//! salt, no client can choose a name that shares a set with another client. Where the set is full, the client goes to a
//! set of a second table, by another hash. Where that one is full, too, it takes the place of the bucket that will be
//! settled first. So no two clients share a bucket: the others can make a client owe less, but never more. Settled
//! buckets are dropped when their set is written.
//!
//! With 100,000 clients in debt, a set of the first table has 1.7 on average, and one client in 2,200 finds eight
//! others there (Poisson distribution). Only these are in the second table, so no bucket is dropped before it is
//! settled. The tests simulate this with 250,000 clients. A client that moves from one table to the other starts with a
//! full bucket.

use std::rc::Rc;

use super::bucket::Bucket;
use super::bucket_id::BucketId;
use super::bucket_set::BucketSet;
use super::dimension::{Amounts, Dimension};
use super::engine::Share;
use super::store::{NEW_KEY, Store, StoreFailed};
use super::throttled::Throttled;
use super::tier::Tier;
use crate::time::Timestamp;

/// How many sets the first table has. Both tables together have 65,536 keys.
const FIRST_TABLE: u32 = 7 << 13;
/// How many sets the second table has.
const SECOND_TABLE: u32 = 1 << 13;

/// How often a change is tried again when other workers change the same set. Each failure means that another worker
/// succeeded.
const TRIES: usize = 1000;

/// One request: what a request is charged for its headers.
const ONE_REQUEST: Amounts = Amounts::ZERO.with(Dimension::Requests, 1);

/// The outcome of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// It fits and was charged.
    Granted(Receipt),
    /// It does not fit. Nothing was charged.
    Throttled(Throttled),
    /// The store failed. Nothing was charged.
    Unmetered,
}

/// What a refund needs to know about the charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The table of the bucket that was charged.
    table: Table,
    /// The time of the charge by the bucket, which may be a moment later than the worker's: another worker's clock may
    /// be ahead.
    at: Timestamp,
    /// How much of the tightest limit is spent after the charge, in percent; `None` where there is no limit.
    pub used: Option<u64>,
}

/// Where a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Table {
    #[default]
    First,
    /// For clients whose set of the first table is full.
    Second,
}

impl Charge {
    /// Whether it fits.
    pub fn is_granted(&self) -> bool {
        matches!(self, Charge::Granted(_))
    }
}

/// The buckets of one gate.
pub struct Ledger<'a, S> {
    store: &'a S,
    /// The start of all keys. Gates that share a proxy have different prefixes, so they do not share buckets.
    prefix: &'a str,
    /// Where charges are reported, if the quota holds over several replicas.
    share: Option<&'a Rc<Share>>,
}

impl<'a, S: Store> Ledger<'a, S> {
    /// The ledger in `store` whose keys start with `prefix`.
    pub fn new(store: &'a S, prefix: &'a str) -> Self {
        Ledger { store, prefix, share: None }
    }

    /// The ledger of a quota that holds over several replicas, whose buckets are those of `share`.
    pub fn shared(store: &'a S, share: &'a Rc<Share>) -> Self {
        Ledger { store, prefix: share.prefix(), share: Some(share) }
    }

    /// Changes a bucket after a report. `changed` returns whether to keep the change. Returns whether it was kept.
    pub(super) fn reported(
        &self,
        id: BucketId,
        table: Table,
        tier: &Tier,
        now: Timestamp,
        changed: &mut dyn FnMut(&mut Bucket) -> bool,
    ) -> bool {
        let key = &self.key(id, table);
        for attempt in 0..TRIES {
            let Ok(Some((value, version))) = self.store.get(key, attempt > 0) else { return false };
            let (mut bucket, set) = BucketSet::take(&value, id, now);
            self.advance(&mut bucket, tier, now);
            if !changed(&mut bucket) {
                return false;
            }
            let Some(value) = set.put(id, &bucket, tier) else { return false };
            match self.store.set(key, &value, version) {
                Ok(false) => {}
                written => return written.is_ok(),
            }
        }
        false
    }

    /// The bucket as all workers see it.
    pub(super) fn bucket(&self, id: BucketId, table: Table, tier: &Tier, now: Timestamp) -> Option<Bucket> {
        let (value, _) = self.store.get(&self.key(id, table), true).ok()??;
        let (mut bucket, _) = BucketSet::take(&value, id, now);
        self.advance(&mut bucket, tier, now);
        Some(bucket)
    }

    /// Brings a bucket up to date. Returns its limits where they are not the tier's, because the engine is away.
    fn advance(&self, bucket: &mut Bucket, tier: &Tier, now: Timestamp) -> Option<Tier> {
        let Some((since, limits)) = self.share.and_then(|share| share.away(tier)) else {
            bucket.advance(tier, now);
            return None;
        };
        let until = since.min(now);
        if bucket.updated < until {
            bucket.advance(tier, until);
        }
        bucket.advance(&limits, now);
        Some(limits)
    }

    /// Charges one request, at its headers. `probe` are the other dimensions that it will need. If one of them has
    /// nothing left, the request is throttled although it is charged.
    pub fn request(&self, id: BucketId, tier: &Tier, probe: &[Dimension], now: Timestamp) -> Charge {
        if tier.limits.iter().all(|(_, limit)| limit.is_none()) {
            return Charge::Granted(Receipt::default());
        }
        let limited = tier.limit(Dimension::Requests).is_some();
        let mut probed = Ok(());
        let charge = self.update(id, tier, now, limited, &mut |bucket, tier| {
            if limited {
                bucket.charge(tier, &ONE_REQUEST)?;
            }
            probed = bucket.probe(tier, probe);
            Ok(())
        });
        match (charge, probed) {
            (Charge::Granted(_), Err(throttled)) => Charge::Throttled(throttled),
            (charge, _) => charge,
        }
    }

    /// Charges all `amounts` or none.
    pub fn charge(&self, id: BucketId, tier: &Tier, amounts: &Amounts, now: Timestamp) -> Charge {
        if !limits(tier, amounts) {
            return Charge::Granted(Receipt::default());
        }
        self.update(id, tier, now, true, &mut |bucket, tier| bucket.charge(tier, amounts))
    }

    /// How many bytes may be spent on a message of which `bytes` have arrived, before it is charged; `None` where bytes
    /// have no limit. Other workers may charge in the meantime.
    ///
    /// # Errors
    /// The bytes that have arrived do not fit.
    pub fn bytes_left(
        &self,
        id: BucketId,
        tier: &Tier,
        bytes: u64,
        now: Timestamp,
    ) -> Result<Option<u64>, Throttled> {
        if tier.limit(Dimension::Bytes).is_none() {
            return Ok(None);
        }
        let mut left = None;
        let looked = self.update(id, tier, now, false, &mut |bucket, tier| {
            left = bucket.bytes_left(tier);
            bucket.fits(tier, bytes)
        });
        match looked {
            Charge::Granted(_) => Ok(left),
            Charge::Throttled(throttled) => Err(throttled),
            Charge::Unmetered => Ok(None),
        }
    }

    /// Records so many bytes of work on a request that was then rejected. A client that wastes as much as its bucket
    /// holds is throttled at the headers of its requests, until time has paid that off.
    pub fn record_wasted(&self, id: BucketId, tier: &Tier, bytes: u64, now: Timestamp) {
        let limited =
            |(dimension, limit): (Dimension, &Option<_>)| dimension != Dimension::Requests && limit.is_some();
        if bytes == 0 || !tier.limits.iter().any(limited) {
            return;
        }
        self.update(id, tier, now, true, &mut |bucket, _| {
            bucket.record_wasted(tier, bytes);
            Ok(())
        });
    }

    /// Refunds a charge of `amounts` that the backend did not accept, within the bound of all refunds.
    pub fn refund(&self, id: BucketId, tier: &Tier, amounts: &Amounts, receipt: Receipt, now: Timestamp) {
        self.take_back(id, tier, amounts, receipt, now, &mut |bucket| {
            bucket.refund(tier, amounts, receipt.at)
        });
    }

    /// Takes back a charge of `amounts` for a request of which nothing was forwarded.
    pub fn cancel(&self, id: BucketId, tier: &Tier, amounts: &Amounts, receipt: Receipt, now: Timestamp) {
        self.take_back(id, tier, amounts, receipt, now, &mut |bucket| {
            bucket.cancel(tier, amounts, receipt.at)
        });
    }

    fn take_back(
        &self,
        id: BucketId,
        tier: &Tier,
        amounts: &Amounts,
        receipt: Receipt,
        now: Timestamp,
        change: &mut dyn FnMut(&mut Bucket),
    ) {
        if !limits(tier, amounts) {
            return;
        }
        let mut change = |bucket: &mut Bucket, _: &Tier| {
            change(bucket);
            Ok(())
        };
        // If the bucket is gone and its set is full, time has paid the charge off.
        self.update_set(id, receipt.table, tier, now, true, &mut change);
    }

    fn update(&self, id: BucketId, tier: &Tier, now: Timestamp, write: bool, change: Change<'_>) -> Charge {
        for table in [Table::First, Table::Second] {
            match self.update_set(id, table, tier, now, write, change) {
                Update::Done { at, used } => return Charge::Granted(Receipt { table, at, used }),
                Update::Throttled(throttled) => return Charge::Throttled(throttled),
                Update::Failed => return Charge::Unmetered,
                Update::SetIsFull => {}
            }
        }
        Charge::Unmetered
    }

    /// The key of a bucket's set in a table.
    fn key(&self, id: BucketId, table: Table) -> String {
        let hash = self.store.salt().hash(id);
        // Half of the hash for each table, scaled by a multiplication, which takes less time than a remainder.
        let of = |half: u32, sets: u32| ((u64::from(half) * u64::from(sets)) >> 32) as u32;
        let set = match table {
            Table::First => of(hash as u32, FIRST_TABLE),
            Table::Second => FIRST_TABLE + of((hash >> 32) as u32, SECOND_TABLE),
        };
        let mut key = String::with_capacity(self.prefix.len() + "/ffff".len());
        key.push_str(self.prefix);
        key.push('/');
        // Four hex digits. `format!` would take longer than the rest of this function.
        let digits = [12, 8, 4, 0].map(|shift| char::from_digit(set >> shift & 15, 16));
        key.extend(digits.into_iter().flatten());
        key
    }

    fn update_set(
        &self,
        id: BucketId,
        table: Table,
        tier: &Tier,
        now: Timestamp,
        write: bool,
        change: Change<'_>,
    ) -> Update {
        let key = &self.key(id, table);
        // A bucket that is not written afterwards is not checked by its version, so its value must be fresh.
        let mut fresh = !write;
        for _ in 0..TRIES {
            let Ok(found) = self.store.get(key, fresh) else { return Update::Failed };
            let (value, version) = found.unwrap_or((Vec::new(), NEW_KEY));
            let (mut bucket, mut set) = BucketSet::take(&value, id, now);
            if table == Table::First && set.is_full() {
                if !fresh {
                    fresh = true;
                    continue;
                }
                return Update::SetIsFull;
            }
            let away = self.advance(&mut bucket, tier, now);
            let limits = away.as_ref().unwrap_or(tier);
            let share = self.share.filter(|share| share.takes_reports(now));
            let before = share.filter(|_| write).map(|_| bucket.owed());
            if let Err(throttled) = change(&mut bucket, limits) {
                if !fresh {
                    fresh = true;
                    continue;
                }
                if let Some(share) = share
                    && let Some(due) = bucket.ask(&throttled, now)
                    && let Some(value) = set.put(id, &bucket, tier)
                    && self.store.set(key, &value, version) == Ok(true)
                {
                    share.queue(id, table, tier, bucket.unreported.ticket, due);
                }
                return Update::Throttled(throttled);
            }
            if !write {
                return Update::Done { at: bucket.updated, used: bucket.used(tier) };
            }
            if table == Table::Second && bucket.settled_at(tier) > now {
                set.make_room();
            }
            let due = before.and_then(|before| bucket.note(&before, tier, now));
            let Some(value) = set.put(id, &bucket, tier) else { return Update::SetIsFull };
            match self.store.set(key, &value, version) {
                Ok(true) => {
                    if let (Some(share), Some(due)) = (share, due) {
                        share.queue(id, table, tier, bucket.unreported.ticket, due);
                    }
                    return Update::Done { at: bucket.updated, used: bucket.used(tier) };
                }
                Ok(false) => fresh = true,
                Err(StoreFailed) => return Update::Failed,
            }
        }
        Update::Failed
    }
}

/// Whether the tier limits any of these amounts.
fn limits(tier: &Tier, amounts: &Amounts) -> bool {
    tier.limits.iter().any(|(dimension, limit)| amounts[dimension] > 0 && limit.is_some())
}

/// Changes a bucket with these limits.
type Change<'a> = &'a mut dyn FnMut(&mut Bucket, &Tier) -> Result<(), Throttled>;

/// The outcome of a change to a bucket set.
enum Update {
    /// The bucket was changed at this time of its own. `used` is how much of the tightest limit is spent then, in
    /// percent.
    Done {
        at: Timestamp,
        used: Option<u64>,
    },
    Throttled(Throttled),
    SetIsFull,
    Failed,
}

#[cfg(test)]
mod tests;

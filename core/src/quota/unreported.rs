//! What the engine of a shared quota does not know yet of a bucket, and when it is told.
//!
//! A bucket that has something to report is in the queue of one worker, whose entry has the bucket's [`Ticket`]. A
//! bucket that becomes urgent is queued again, maybe by another worker, with a new ticket. The earlier entry then counts
//! no longer, so nothing is reported twice. The amounts stay in the bucket until the engine's answer, which is applied
//! only if the ticket is still the same.

use super::bucket::Bucket;
use super::dimension::{Dimension, PerDimension};
use super::throttled::Throttled;
use super::tier::Tier;
use super::tokens::Tokens;
use crate::time::{Nanos, Timestamp};

/// A bucket is reported as soon as it has this part of its capacity to report.
const MUCH: u64 = 16;
/// A bucket whose debt is above this part of its capacity is reported as soon as it has anything to report.
const NEAR: u64 = 4;
/// Anything else is reported within this time, and within a quarter of the burst.
const SLOW: Nanos = Nanos::from_secs(1);
/// Reports that can wait are due together, at multiples of this time: a call costs a proxy as much as a hundred reports.
const TOGETHER: Nanos = Nanos::from_millis(100);
/// A throttled client's bucket asks the engine this often whether others were refunded.
const ASK: Nanos = Nanos::from_millis(100);
/// A ticket that is older was lost: its worker's VM ended. More than a report takes with all its tries.
const LOST: Nanos = Nanos::from_secs(3);
/// A ticket that is younger lasts until the end of its report.
const FRESH: Nanos = Nanos::from_secs(1);

/// Which report a bucket waits for. Zero: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// A ticket that no earlier one of this bucket is equal to.
    fn after(self, now: Timestamp, urgent: bool) -> Ticket {
        Ticket((now.as_nanos() & !1).max((self.0 & !1).saturating_add(2)) | u64::from(urgent))
    }

    fn is_urgent(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether no other ticket is issued for the bucket until the end of a report that begins now.
    pub(super) fn lasts(self, now: Timestamp) -> bool {
        self.is_urgent() && now.since(self.issued()) < FRESH
    }

    fn issued(self) -> Timestamp {
        Timestamp::from_nanos(self.0)
    }

    /// The number that is stored.
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    /// The ticket that is stored as this number.
    pub(super) fn from_bits(bits: u64) -> Self {
        Ticket(bits)
    }
}

/// The time at which reports that can wait are due, `due` at the latest.
fn together(due: Timestamp) -> Timestamp {
    Timestamp::from_nanos(due.as_nanos() / TOGETHER.get() * TOGETHER.get())
}

/// What a bucket has charged and the engine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unreported {
    pub(super) ticket: Ticket,
    /// In 2^-24 units; negative after refunds.
    pub(super) amounts: PerDimension<i64>,
    /// Until then the engine's debts do not lower this replica's, because a report failed: the engine may lack what it
    /// had.
    pub(super) lost_until: Timestamp,
}

impl Unreported {
    /// Whether there is anything to store at this time.
    pub(super) fn matters(&self, now: Timestamp) -> bool {
        self.is_queued() || self.lost_until > now
    }

    /// Whether it waits for a report.
    pub(super) fn is_queued(&self) -> bool {
        self.ticket != Ticket::default()
    }

    /// The dimensions with something to report, as bits.
    pub(super) fn dimensions(&self) -> u8 {
        self.amounts
            .iter()
            .fold(0, |bits, (dimension, amount)| bits | u8::from(*amount != 0) << dimension as u8)
    }

    /// Until when the bucket is kept although it owes nothing.
    pub(super) fn expires(&self) -> Timestamp {
        self.ticket.issued() + LOST
    }

    /// Whether a worker has it in its queue.
    fn is_waiting(&self, now: Timestamp) -> bool {
        // A ticket from the future: the clock was set back.
        self.is_queued() && now < self.expires() && self.ticket.issued() < now + LOST
    }
}

impl Bucket {
    /// What is owed in each dimension.
    pub(super) fn owed(&self) -> PerDimension<Tokens> {
        PerDimension::from_fn(|dimension| self.debts[dimension].owed)
    }

    /// Notes how the debts have changed since they were `before`. Returns when that must be reported, if the bucket is
    /// not queued for it yet. Call without [`Bucket::advance`] in between.
    pub(super) fn note(
        &mut self,
        before: &PerDimension<Tokens>,
        tier: &Tier,
        now: Timestamp,
    ) -> Option<Timestamp> {
        for (dimension, amount) in self.unreported.amounts.iter_mut() {
            *amount = amount.saturating_add(self.debts[dimension].owed.change_from(before[dimension]));
        }
        self.queue(tier, now)
    }

    /// Queues a throttled client's bucket: others may have been refunded since its last report.
    pub(super) fn ask(&mut self, throttled: &Throttled, now: Timestamp) -> Option<Timestamp> {
        let waits = matches!(throttled, Throttled::RetryAfter { .. });
        if !waits || self.unreported.is_waiting(now) {
            return None;
        }
        self.unreported.ticket = self.unreported.ticket.after(now, false);
        Some(now + ASK)
    }

    /// Gives the bucket a ticket, and returns when it is due, if it has something to report and no worker has it queued.
    pub(super) fn queue(&mut self, tier: &Tier, now: Timestamp) -> Option<Timestamp> {
        let (mut delay, mut anything, mut urgent) = (SLOW, false, false);
        for (dimension, amount) in self.unreported.amounts.iter() {
            let Some(limit) = tier.limits[dimension].filter(|_| *amount != 0) else { continue };
            anything = true;
            let capacity = limit.tokens();
            urgent |= Tokens::from_bits(amount.unsigned_abs()) >= capacity / MUCH;
            urgent |= self.debts[dimension].owed >= capacity / NEAR;
            delay = delay.min(limit.time_to_earn(capacity / 4));
        }
        let waiting = self.unreported.is_waiting(now);
        if !anything || (waiting && (!urgent || self.unreported.ticket.is_urgent())) {
            return None;
        }
        self.unreported.ticket = self.unreported.ticket.after(now, urgent);
        Some(if urgent { now } else { together(now + delay) })
    }

    /// Ends a report that was not answered: what it had is never reported, but owed here. Call after
    /// [`Bucket::advance`].
    pub(super) fn forget(&mut self, sent: &PerDimension<i64>, tier: &Tier) {
        self.end_report(sent);
        self.unreported.lost_until = self.settled_at(tier);
    }

    fn end_report(&mut self, sent: &PerDimension<i64>) {
        for (dimension, amount) in self.unreported.amounts.iter_mut() {
            *amount = amount.saturating_sub(sent[dimension]);
        }
        self.unreported.ticket = Ticket::default();
    }

    /// Applies the answer to a report: a debt is what it is over all replicas, and what is not reported yet. Returns
    /// when the next report is due, if there is one. Call after [`Bucket::advance`].
    pub(super) fn settle(
        &mut self,
        tier: &Tier,
        sent: &PerDimension<i64>,
        answer: &PerDimension<Option<Tokens>>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let before = self.unreported.ticket;
        self.end_report(sent);
        let lost = now < self.unreported.lost_until;
        for (dimension, debt) in self.debts.iter_mut() {
            if let Some(owed) = answer[dimension] {
                let owed = owed.plus(self.unreported.amounts[dimension]);
                debt.correct(if lost { owed.max(debt.owed) } else { owed });
            }
        }
        let due = self.queue(tier, now);
        if due.is_some() {
            self.unreported.ticket = before.after(now, self.unreported.ticket.is_urgent());
        }
        due
    }

    /// Issues a ticket that lasts until the end of the report that begins now.
    pub(super) fn renew_ticket(&mut self, now: Timestamp) {
        self.unreported.ticket = self.unreported.ticket.after(now, true);
    }

    /// What a report tells the engine, by the tier's dimensions: the amounts, and the debts for an engine that has lost
    /// them. [`None`] if another ticket was issued since.
    pub(super) fn reportable(&self, ticket: Ticket, tier: &Tier) -> Option<PerDimension<i64>> {
        let limited = |dimension: Dimension| tier.limits[dimension].is_some();
        (self.unreported.ticket == ticket).then(|| {
            PerDimension::from_fn(
                |dimension| {
                    if limited(dimension) { self.unreported.amounts[dimension] } else { 0 }
                },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::bucket_id::BucketId;
    use super::super::bucket_set::BucketSet;
    use super::super::dimension::{Amounts, Rates};
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn tier() -> Tier {
        let rates = Rates::UNLIMITED.with(Dimension::Bytes, Some(1000)).with(Dimension::Items, Some(160));
        Tier::new("t", Duration::from_secs(1), rates)
    }

    /// Charges items and notes them.
    fn charge(bucket: &mut Bucket, items: u64, now: Timestamp) -> Option<Timestamp> {
        bucket.advance(&tier(), now);
        let before = bucket.owed();
        bucket.charge(&tier(), &Amounts::ZERO.with(Dimension::Items, items)).unwrap();
        bucket.note(&before, &tier(), now)
    }

    #[test]
    fn little_is_reported_later_and_much_at_once_and_both_only_once() {
        let mut bucket = Bucket::default();
        // A quarter of the burst is 250 ms.
        assert_eq!(charge(&mut bucket, 4, NOW), Some(NOW + Nanos::from_millis(200)));
        let slow = bucket.unreported.ticket;
        assert_eq!(charge(&mut bucket, 4, NOW), None);
        assert_eq!(charge(&mut bucket, 4, NOW), Some(NOW));
        let urgent = bucket.unreported.ticket;
        assert_eq!(charge(&mut bucket, 40, NOW), None);
        assert_ne!(slow, urgent);
        assert_eq!(bucket.reportable(slow, &tier()), None);
        let report = bucket.reportable(urgent, &tier()).unwrap();
        assert_eq!(report[Dimension::Items], 52 << 24);
        // A ticket that is not used is lost after some time.
        let later = NOW + LOST + Nanos::from_millis(1);
        assert_eq!(charge(&mut bucket, 1, later), Some(later));
    }

    #[test]
    fn no_ticket_is_issued_twice() {
        let mut ticket = Ticket::default();
        for (later, urgent) in [(0, false), (0, true), (0, false), (1, false), (0, false), (5, true)] {
            let next = ticket.after(NOW + Nanos::new(later), urgent);
            assert!(next > ticket && next.is_urgent() == urgent, "{next:?} after {ticket:?}");
            ticket = next;
        }
    }

    #[test]
    fn what_is_charged_during_a_report_stays_unreported() {
        let mut bucket = Bucket::default();
        charge(&mut bucket, 100, NOW);
        let sent = bucket.reportable(bucket.unreported.ticket, &tier()).unwrap();
        charge(&mut bucket, 7, NOW);
        let answer = PerDimension::default().with(Dimension::Items, Some(Tokens::of(120)));
        assert_eq!(bucket.settle(&tier(), &sent, &answer, NOW), Some(NOW));
        assert_eq!(bucket.debts[Dimension::Items].owed, Tokens::of(127));
        assert_eq!(bucket.unreported.amounts[Dimension::Items], 7 << 24);
        // The bytes had no debt, and the engine has no say in them.
        assert_eq!(bucket.debts[Dimension::Bytes].owed, Tokens::ZERO);
    }

    #[test]
    fn a_failed_report_is_not_repeated_and_still_owed() {
        let mut bucket = Bucket::default();
        charge(&mut bucket, 100, NOW);
        let sent = bucket.reportable(bucket.unreported.ticket, &tier()).unwrap();
        bucket.forget(&sent, &tier());
        assert!(!bucket.unreported.is_queued());
        charge(&mut bucket, 20, NOW);
        let sent = bucket.reportable(bucket.unreported.ticket, &tier()).unwrap();
        assert_eq!(sent[Dimension::Items], 20 << 24);
        let answer = PerDimension::default().with(Dimension::Items, Some(Tokens::of(20)));
        bucket.settle(&tier(), &sent, &answer, NOW);
        assert_eq!(bucket.debts[Dimension::Items].owed, Tokens::of(120));
        // Time has paid the lost report off.
        let later = NOW + Nanos::from_millis(700);
        bucket.advance(&tier(), later);
        bucket.settle(&tier(), &PerDimension::default(), &answer, later);
        assert_eq!(bucket.debts[Dimension::Items].owed, Tokens::of(20));
    }

    #[test]
    fn a_refund_is_reported_as_less() {
        let mut bucket = Bucket::default();
        charge(&mut bucket, 100, NOW);
        let before = bucket.owed();
        bucket.refund(&tier(), &Amounts::ZERO.with(Dimension::Items, 60), NOW);
        bucket.note(&before, &tier(), NOW);
        assert_eq!(bucket.unreported.amounts[Dimension::Items], 40 << 24);
    }

    #[test]
    fn a_bucket_is_read_as_it_was_stored_and_kept_until_it_is_reported() {
        let mut bucket = Bucket::default();
        charge(&mut bucket, 1, NOW);
        bucket.unreported.amounts[Dimension::Bytes] = -5;
        bucket.unreported.lost_until = NOW + LOST;
        let (id, other) = (BucketId([1; 16]), BucketId([2; 16]));
        let (_, set) = BucketSet::take(&[], id, NOW);
        let stored = set.put(id, &bucket, &tier()).unwrap();
        assert_eq!(BucketSet::take(&stored, id, NOW).0, bucket);
        // Its debt is paid off, but it waits for its report.
        let later = NOW + Nanos::from_secs(1);
        let (_, set) = BucketSet::take(&stored, other, later);
        let stored = set.put(other, &Bucket { updated: later, ..Bucket::default() }, &tier()).unwrap();
        assert_eq!(BucketSet::take(&stored, id, later).0, bucket);
        let (_, set) = BucketSet::take(&stored, other, NOW + LOST * 2);
        let stored = set.put(other, &Bucket::default(), &tier()).unwrap();
        assert_eq!(BucketSet::take(&stored, id, NOW).0, Bucket::default());
    }
}

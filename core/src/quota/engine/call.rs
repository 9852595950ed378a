//! A call: the commands of one batch of reports, and its answers.

use std::rc::Rc;

use super::queue::Entry;
use super::resp::{argument, command};
use super::script::{JOIN, SCRIPT, SHA1};
use super::share::Class;
use crate::quota::dimension::{Dimension, PerDimension};
use crate::quota::ledger::Ledger;
use crate::quota::store::Store;
use crate::quota::tier::{Limit, MAX_CAPACITY, Tier};
use crate::quota::tokens::{FRACTION_BITS, Tokens};
use crate::time::Timestamp;

/// How many units a token has.
const UNIT: f64 = (1u64 << FRACTION_BITS) as f64;

/// The largest debt that is believed, in bursts. A wrong one would lock a client out.
const MOST_BURSTS: u64 = 100;

/// A user of the engine.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `None` for the engine's default user.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Bytes to send to the engine over a connection of their own.
#[derive(Debug)]
pub struct Call {
    /// The commands; the last one ends the connection.
    pub body: Vec<u8>,
    pub(super) flight: Flight,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) groups: Vec<Group>,
    pub(super) began: Timestamp,
    /// Whether it brings the script.
    pub(super) has_script: bool,
    /// Whether it joins the list of replicas.
    pub(super) joins: bool,
}

/// Reports of buckets of one class: one command.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) class: Rc<Class>,
    pub(super) reports: Vec<Report>,
}

/// The report of one bucket.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) entry: Entry,
    /// What it reports, in 2^-24 units.
    pub(super) amounts: PerDimension<i64>,
    /// What it owes by this replica.
    owed: PerDimension<Tokens>,
}

impl Call {
    /// The call with these reports. `join` is the key of the list of replicas to join, and who joins it.
    pub(super) fn new(
        credentials: Option<&Credentials>,
        join: Option<(&str, [u8; 16])>,
        groups: Vec<Group>,
        has_script: bool,
        began: Timestamp,
    ) -> Call {
        let mut body = Vec::new();
        if let Some(Credentials { user, password }) = credentials {
            command(&mut body, 2 + usize::from(user.is_some()));
            argument(&mut body, b"AUTH");
            user.iter().for_each(|user| argument(&mut body, user.as_bytes()));
            argument(&mut body, password.as_bytes());
        }
        if let Some((key, member)) = join {
            command(&mut body, 5);
            for part in [&b"EVAL"[..], JOIN.as_bytes(), b"1", key.as_bytes(), &member] {
                argument(&mut body, part);
            }
        }
        for group in &groups {
            group.write(&mut body, has_script);
        }
        command(&mut body, 1);
        argument(&mut body, b"QUIT");
        Call { body, flight: Flight { groups, began, has_script, joins: join.is_some() } }
    }
}

impl Report {
    /// Begins the report of a bucket; [`None`] if the entry no longer counts. Until the end of the report no other
    /// worker reports the bucket: it would report the same amounts again.
    fn begin<S: Store>(mut entry: Entry, store: &S, now: Timestamp) -> Option<Report> {
        let ledger = Ledger::shared(store, &entry.share);
        let (id, table, class, ticket) = (entry.id, entry.table, Rc::clone(&entry.class), entry.ticket);
        if ticket.lasts(now) {
            let bucket = ledger.bucket(id, table, &class.tier, now)?;
            let amounts = bucket.reportable(ticket, &class.tier)?;
            return Some(Report { amounts, owed: bucket.owed(), entry });
        }
        let mut begun = None;
        let written = ledger.reported(id, table, &class.tier, now, &mut |bucket| {
            let amounts = bucket.reportable(ticket, &class.tier);
            bucket.renew_ticket(now);
            begun = amounts.map(|amounts| (amounts, bucket.owed(), bucket.unreported.ticket));
            begun.is_some()
        });
        let (amounts, owed, ticket) = begun.filter(|_| written)?;
        entry.ticket = ticket;
        Some(Report { entry, amounts, owed })
    }
}

impl Group {
    /// The reports of these entries. Those that no longer count are left out.
    pub(super) fn collect<S: Store>(entries: Vec<Entry>, store: &S, now: Timestamp) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for entry in entries {
            let Some(report) = Report::begin(entry, store, now) else { continue };
            let class = Rc::clone(&report.entry.class);
            match groups.iter_mut().find(|group| Rc::ptr_eq(&group.class, &class)) {
                Some(group) => group.reports.push(report),
                None => groups.push(Group { class, reports: vec![report] }),
            }
        }
        groups
    }

    fn limits(&self) -> impl Iterator<Item = (Dimension, Limit)> {
        self.class.tier.limits.iter().filter_map(|(dimension, limit)| Some((dimension, (*limit)?)))
    }

    fn write(&self, out: &mut Vec<u8>, with_script: bool) {
        command(out, 5 + self.reports.len());
        let (name, script) = if with_script { ("EVAL", SCRIPT) } else { ("EVALSHA", SHA1) };
        argument(out, name.as_bytes());
        argument(out, script.as_bytes());
        argument(out, self.reports.len().to_string().as_bytes());
        for Report { entry, .. } in &self.reports {
            argument(out, entry.share.key(entry.id, &self.class).as_bytes());
        }
        let mut floats = Vec::new();
        for (_, limit) in self.limits() {
            floats.extend_from_slice(&(limit.rate as f64).to_le_bytes());
        }
        argument(out, &floats);
        floats.clear();
        for Report { amounts, owed, .. } in &self.reports {
            for (dimension, _) in self.limits() {
                floats.extend_from_slice(&(amounts[dimension] as f64 / UNIT).to_le_bytes());
                floats.extend_from_slice(&(owed[dimension].to_bits() as f64 / UNIT).to_le_bytes());
            }
        }
        argument(out, &floats);
    }

    /// The length of the engine's answer, in bytes.
    pub(super) fn answer_len(&self) -> usize {
        self.limits().count() * self.reports.len() * size_of::<f64>()
    }

    /// Each report with the debts that the engine answers: those of the tier's limits.
    pub(super) fn into_answers(
        self,
        answer: &[u8],
    ) -> impl Iterator<Item = (Report, PerDimension<Option<Tokens>>)> {
        let limits: Vec<(Dimension, Limit)> = self.limits().collect();
        let each = answer.chunks_exact((limits.len() * size_of::<f64>()).max(1));
        self.reports.into_iter().zip(each).map(move |(report, floats)| {
            let mut debts = PerDimension::default();
            for ((dimension, limit), float) in limits.iter().zip(floats.chunks_exact(size_of::<f64>())) {
                let debt = tokens(f64::from_le_bytes(float.try_into().unwrap_or_default()));
                let most = limit.capacity.saturating_mul(MOST_BURSTS).min(MAX_CAPACITY);
                debts[*dimension] = Some(debt.min(Tokens::of(most)));
            }
            (report, debts)
        })
    }
}

/// The tokens of so many units. A conversion to an integer saturates, and makes 0 of what is no number.
fn tokens(units: f64) -> Tokens {
    Tokens::from_bits(((units * UNIT) as u64).min(i64::MAX as u64))
}

/// Whether one of these debts is above the burst, by more than 2 percent.
pub(super) fn is_over(tier: &Tier, debts: &PerDimension<Option<Tokens>>) -> bool {
    debts.iter().any(|(dimension, debt)| {
        let limit = tier.limits[dimension].map(Limit::tokens);
        debt.zip(limit).is_some_and(|(debt, capacity)| debt > capacity + capacity / 50)
    })
}

//! Compiles tiers.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::nearest::nearest;
use super::super::pattern::is_capture_byte;
use super::super::problem::{PathRef, Problem};
use crate::config::{Quotas, TierConfig};
use crate::quota::{BucketId, Dimension, MAX_CAPACITY, Rates, Tier};

/// The tier of rules without `quota`.
const DEFAULT: &str = "default";

/// Tiers by name.
#[derive(Default)]
pub(super) struct Tiers {
    tiers: BTreeMap<String, Rc<Tier>>,
    unlimited: Option<Rc<Tier>>,
    /// The limits of all clients together.
    pub(super) total: Option<Tier>,
}

impl Tiers {
    pub(super) fn compile(quotas: &Quotas, problems: &mut Vec<Problem>) -> Self {
        let quotas_place = PathRef::of("quotas");
        let tiers_place = quotas_place.key("tiers");
        let mut tiers = BTreeMap::new();
        for (name, config) in &quotas.tiers {
            let path = tiers_place.key(name);
            check(name, config, &path, problems);
            tiers.insert(name.clone(), Rc::new(tier(name, config)));
        }
        let total = quotas.total.as_ref().map(|config| {
            check("total", config, &quotas_place.key("total"), problems);
            tier("total", config)
        });
        Tiers { tiers, unlimited: None, total }
    }

    /// A hash of all limits with their tiers' names.
    pub(super) fn digest(&self) -> BucketId {
        let mut limits = Vec::new();
        for tier in self.tiers.values().map(Rc::as_ref).chain(&self.total) {
            limits.extend_from_slice(tier.name.as_bytes());
            limits.push(0);
            limits.extend_from_slice(&tier.limits_to_bytes());
        }
        BucketId::of(&[&limits])
    }

    /// The tier with this name. If there is none, adds a problem at `path`.
    pub(super) fn named(
        &self,
        name: &str,
        path: &PathRef<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Rc<Tier>> {
        let tier = self.tiers.get(name).cloned();
        if tier.is_none() {
            let hint = || match nearest(name, self.tiers.keys().map(String::as_str)) {
                Some(nearest) => Some(format!("did you mean `{nearest}`?")),
                None => Some("define it under `quotas.tiers`".to_owned()),
            };
            problems.push(Problem::new(path, format!("unknown tier `{name}`")).hint_with(hint));
        }
        tier
    }

    /// The tier `default`; without one, a tier without limits.
    pub(super) fn default_tier(&mut self) -> Rc<Tier> {
        match self.tiers.get(DEFAULT) {
            Some(tier) => Rc::clone(tier),
            None => Rc::clone(self.unlimited.get_or_insert_with(|| Rc::new(Tier::unlimited(DEFAULT)))),
        }
    }
}

fn tier(name: &str, config: &TierConfig) -> Tier {
    let rates = Rates::from_fn(|dimension| config.rate(dimension).map(|rate| rate.per_second()));
    Tier::new(name, config.burst.duration(), rates)
}

fn check(name: &str, config: &TierConfig, path: &PathRef<'_>, problems: &mut Vec<Problem>) {
    if name.is_empty() || !name.bytes().all(is_capture_byte) {
        problems.push(Problem::new(path, "the name of a tier can only contain A-Z a-z 0-9 . _ -"));
    }
    if name == "reject" {
        let hint = "`unknown: reject` rejects unknown certificates";
        problems.push(Problem::new(path, "a tier cannot be named `reject`").hint(hint));
    }
    let burst = config.burst.duration();
    let mut limited = false;
    for dimension in Dimension::ALL {
        let Some(rate) = config.rate(dimension) else { continue };
        limited = true;
        let path = path.key(dimension.key());
        let capacity = u128::from(rate.per_second()) * burst.as_millis() / 1000;
        if dimension != Dimension::Bytes && rate.is_binary() {
            let message = format!("`{rate}` is a rate of bytes, but this is a limit of {}", dimension.key());
            problems.push(Problem::new(path, message).hint("use k, M or G, or limit `bytes`"));
        }
        if rate.per_second() == 0 {
            let hint =
                "leave it out for no limit; to reject a client, remove its rule or deny its certificate";
            problems.push(Problem::new(path, "a rate of 0 throttles every request").hint(hint));
        } else if capacity == 0 {
            let message = format!("{rate} with a burst of {} throttles every request", config.burst);
            problems.push(Problem::new(path, message).hint("raise the rate or the burst"));
        } else if capacity > u128::from(MAX_CAPACITY) {
            let message =
                format!("{rate} with a burst of {} is more than a bucket can hold, 512 Gi", config.burst);
            problems.push(
                Problem::new(path, message).hint("lower the rate or the burst, or leave it out for no limit"),
            );
        }
    }
    if !limited {
        let message = "the tier has no limits";
        problems.push(Problem::new(path, message).hint_with(|| {
            Some(format!("set at least one of {}", Dimension::ALL.map(Dimension::key).join(", ")))
        }));
    }
}

//! Compiles tiers.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::nearest::nearest;
use super::super::pattern::is_capture_byte;
use super::super::problem::{PathRef, Problem};
use crate::config::{Quotas, TierConfig};
use crate::quota::{Dimension, MAX_CAPACITY, Rates, Tier};

/// The tier of clients that name none.
const DEFAULT: &str = "default";

/// Tiers by name.
#[derive(Default)]
pub(super) struct Tiers {
    tiers: BTreeMap<String, Rc<Tier>>,
    unlimited: Option<Rc<Tier>>,
    /// What all clients share.
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

    /// The tier of this name, or a problem at `path`.
    pub(super) fn named(
        &self,
        name: &str,
        path: &PathRef<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Rc<Tier>> {
        let tier = self.tiers.get(name).cloned();
        if tier.is_none() {
            let hint = match nearest(name, self.tiers.keys().map(String::as_str)) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "name one of quotas.tiers".to_owned(),
            };
            problems.push(Problem::new(path, format!("there is no tier `{name}`")).hint(hint));
        }
        tier
    }

    /// `default`, or no limit where there is no such tier.
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
        problems.push(Problem::new(path, "a tier's name is made of A-Z a-z 0-9 . _ -"));
    }
    if name == "reject" {
        let hint = "`unknown: reject` refuses unknown certificates";
        problems.push(Problem::new(path, "a tier cannot be called `reject`").hint(hint));
    }
    let burst = config.burst.duration();
    let mut limited = false;
    for dimension in Dimension::ALL {
        let Some(rate) = config.rate(dimension) else { continue };
        limited = true;
        let path = path.key(dimension.key());
        let capacity = u128::from(rate.per_second()) * burst.as_millis() / 1000;
        if dimension != Dimension::Bytes && rate.is_binary() {
            let message = format!("`{rate}` is a rate of bytes, and {} are counted", dimension.key());
            problems.push(Problem::new(path, message).hint("use k, M or G, or limit `bytes`"));
        }
        if rate.per_second() == 0 {
            let hint =
                "leave it out for no limit; to refuse a client, take its rule away or deny its certificate";
            problems.push(Problem::new(path, "a rate of 0 never lets anything through").hint(hint));
        } else if capacity == 0 {
            let message = format!("{rate} with a burst of {} never lets anything through", config.burst);
            problems.push(Problem::new(path, message).hint("raise the rate or the burst"));
        } else if capacity > u128::from(MAX_CAPACITY) {
            let message = format!("{rate} with a burst of {} is more than 512 Gi at once", config.burst);
            problems.push(
                Problem::new(path, message).hint("lower the rate or the burst, or leave it out for no limit"),
            );
        }
    }
    if !limited {
        let keys = Dimension::ALL.map(Dimension::key).join(", ");
        let message = "the tier limits nothing";
        problems.push(Problem::new(path, message).hint(format!("give it at least one of {keys}")));
    }
}

//! Metrics with labels. Envoy takes the definitions only while it configures a filter, and the values of labels with
//! each change.

use core::ptr;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use otlp_gate_core::gate::{Definition, Series, definitions};

use crate::abi::{self, EnvoyConfig, EnvoyFilter, METRIC_OK, ModuleBuffer};
use crate::host::Context;

/// A metric with the values of its labels. The gate bounds how many there are for as long as the process lives, so none
/// is ever removed.
struct Known {
    gauge: bool,
    /// Envoy's number of the definition.
    id: usize,
    values: Vec<String>,
}

/// Envoy's numbers of the definitions, in their order. Each configuration defines the same metrics in the same order,
/// so all have the same numbers.
static IDS: OnceLock<Vec<usize>> = OnceLock::new();

/// Those that some worker has used.
static KNOWN: Mutex<BTreeMap<String, &'static Known>> = Mutex::new(BTreeMap::new());

thread_local! {
    static WORKERS: RefCell<WorkersMetrics> = const { RefCell::new(WorkersMetrics::new()) };
}

/// The metrics that a worker knows; the gate calls them by their place in `known`.
struct WorkersMetrics {
    places: BTreeMap<String, u32>,
    known: Vec<&'static Known>,
}

impl WorkersMetrics {
    const fn new() -> Self {
        WorkersMetrics { places: BTreeMap::new(), known: Vec::new() }
    }

    fn place(&mut self, series: &Series<'_>, gauge: bool) -> Option<u32> {
        let name = series.to_string();
        if let Some(place) = self.places.get(&name) {
            return Some(*place);
        }
        let known = known(series, &name, gauge)?;
        let place = u32::try_from(self.known.len()).ok()?;
        self.known.push(known);
        self.places.insert(name, place);
        Some(place)
    }
}

/// Defines all metrics of a configuration; returns whether Envoy took them. What the configurations before it have
/// counted lives on: Envoy forgets a metric together with the last configuration that has used it.
pub(crate) fn define_all(config: EnvoyConfig) -> bool {
    let ids: Option<Vec<usize>> = definitions().map(|definition| define(config, &definition)).collect();
    let Some(ids) = ids else { return false };
    if *IDS.get_or_init(|| ids.clone()) != ids {
        return false;
    }
    for known in KNOWN.lock().unwrap_or_else(PoisonError::into_inner).values() {
        let call = if known.gauge {
            abi::envoy_dynamic_module_callback_http_filter_config_increment_gauge
        } else {
            abi::envoy_dynamic_module_callback_http_filter_config_increment_counter
        };
        // SAFETY: see `abi`; the caller's hook is that of `config`.
        with_values(known, |values, len| unsafe { call(config, known.id, values, len, 0) });
    }
    true
}

fn define(config: EnvoyConfig, definition: &Definition) -> Option<usize> {
    let labels: Vec<ModuleBuffer<'_>> =
        definition.tags.iter().map(|tag| ModuleBuffer::new(tag.as_bytes())).collect();
    let name = ModuleBuffer::new(definition.name.as_bytes());
    let call = if definition.gauge {
        abi::envoy_dynamic_module_callback_http_filter_config_define_gauge
    } else {
        abi::envoy_dynamic_module_callback_http_filter_config_define_counter
    };
    let mut id = 0;
    // SAFETY: see `abi`; the caller's hook is that of `config`.
    let result = unsafe { call(config, name, labels.as_ptr(), labels.len(), &mut id) };
    (result == METRIC_OK).then_some(id)
}

/// The place of a metric; `None` if it is not among the definitions.
pub(crate) fn place(series: &Series<'_>, gauge: bool) -> Option<u32> {
    WORKERS.with_borrow_mut(|metrics| metrics.place(series, gauge))
}

fn known(series: &Series<'_>, name: &str, gauge: bool) -> Option<&'static Known> {
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(name) {
        return Some(known);
    }
    let fits = |it: &Definition| {
        it.name == series.name
            && it.gauge == gauge
            && it.tags.iter().copied().eq(series.tags().map(|(tag, _)| tag))
    };
    let id = *IDS.get()?.get(definitions().position(|it| fits(&it))?)?;
    let values = series.tags().map(|(_, value)| value.to_owned()).collect();
    let known: &'static Known = Box::leak(Box::new(Known { gauge, id, values }));
    all.insert(name.to_owned(), known);
    Some(known)
}

/// Adds to a counter.
pub(crate) fn increment(context: Context, place: u32, by: u64) {
    let of_filter = abi::envoy_dynamic_module_callback_http_filter_increment_counter;
    change(
        context,
        place,
        by,
        of_filter,
        abi::envoy_dynamic_module_callback_http_filter_config_increment_counter,
    );
}

/// Sets a gauge.
pub(crate) fn set(context: Context, place: u32, value: u64) {
    let of_filter = abi::envoy_dynamic_module_callback_http_filter_set_gauge;
    change(context, place, value, of_filter, abi::envoy_dynamic_module_callback_http_filter_config_set_gauge);
}

/// A call of the ABI that changes a metric of a filter or of a configuration: the object, the definition's number, the
/// values of the labels and how many, and the number to add or set.
type Change<T> = unsafe extern "C" fn(T, usize, *const ModuleBuffer<'_>, usize, u64) -> u32;

fn change(
    context: Context,
    place: u32,
    number: u64,
    of_filter: Change<EnvoyFilter>,
    of_config: Change<EnvoyConfig>,
) {
    let known = WORKERS.with_borrow(|metrics| metrics.known.get(place as usize).copied());
    let Some(known) = known else { return };
    with_values(known, |values, len| {
        // SAFETY: see `abi`; the object is that of the hook that runs.
        unsafe {
            match context {
                Context::Filter(filter) => of_filter(filter, known.id, values, len, number),
                Context::Config(config) => of_config(config, known.id, values, len, number),
                Context::None => METRIC_OK,
            }
        };
    });
}

/// Calls with the values of the labels; without labels, with none.
fn with_values<T>(known: &Known, call: impl FnOnce(*const ModuleBuffer<'_>, usize) -> T) -> T {
    const MOST: usize = 3;
    let mut values = [ModuleBuffer::NULL; MOST];
    for (place, value) in values.iter_mut().zip(&known.values) {
        *place = ModuleBuffer::new(value.as_bytes());
    }
    match known.values.len().min(MOST) {
        0 => call(ptr::null(), 0),
        len => call(values.as_ptr(), len),
    }
}

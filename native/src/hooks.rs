//! Envoy's calls into this module.

use core::ffi::{c_char, c_void};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once, Weak};

use otlp_gate_core::gate::{Action, Host as _, Plugin, Stream, Worker};

use crate::abi::{
    self, CONTINUE, EnvoyBuffer, EnvoyConfig, EnvoyFilter, STOP_ITERATION, STOP_ITERATION_NO_BUFFER,
};
use crate::host::{self, Context, Proxy};
use crate::metrics;

/// A configuration of the filter, which all threads of Envoy use.
#[derive(Debug)]
pub(crate) struct Config {
    id: u32,
    /// The filter's name.
    pub(crate) name: Vec<u8>,
    /// The policy: that of the configuration, or the last valid one of the same name.
    pub(crate) policy: Vec<u8>,
}

/// A stream, as the hooks see it.
struct Filter {
    /// `None` once a hook has failed.
    stream: RefCell<Option<Stream<'static, Proxy>>>,
}

struct ConfiguredPlugin {
    id: u32,
    config: Weak<Config>,
    plugin: Plugin<'static, Proxy>,
}

static NEXT_CONFIG: AtomicU32 = AtomicU32::new(1);

thread_local! {
    /// Of Envoy's main thread, which configures, or of a worker. It lives as long as the process.
    static WORKER: &'static Worker<Proxy> = Box::leak(Box::new(Worker::new(Proxy)));
    static PLUGINS: RefCell<Vec<ConfiguredPlugin>> = const { RefCell::new(Vec::new()) };
    /// The last valid policies, by the filter's name. Only the main thread has any.
    static LAST_VALID: RefCell<BTreeMap<Vec<u8>, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT_STREAM: Cell<u32> = const { Cell::new(0) };
}

/// Forgets the plugins whose configurations Envoy has destroyed. Envoy does that on any thread.
fn forget_destroyed(plugins: &mut Vec<ConfiguredPlugin>) {
    plugins.retain(|plugin| plugin.config.strong_count() > 0);
}

/// Configures a filter on Envoy's main thread. An invalid policy is counted and logged once, here.
fn configure(name: &[u8], policy: &[u8]) -> Arc<Config> {
    let id = NEXT_CONFIG.fetch_add(1, Ordering::Relaxed);
    let given = Arc::new(Config { id, name: name.to_vec(), policy: policy.to_vec() });
    let mut plugin = Plugin::new(WORKER.with(|worker| *worker), id);
    let valid = host::configuring(&given, || plugin.configure());
    let config = LAST_VALID.with_borrow_mut(|last| {
        if valid {
            last.insert(name.to_vec(), policy.to_vec());
            return given;
        }
        match last.get(name) {
            Some(last) => Arc::new(Config { id, name: name.to_vec(), policy: last.clone() }),
            None => given,
        }
    });
    PLUGINS.with_borrow_mut(|plugins| {
        plugins.push(ConfiguredPlugin { id, config: Arc::downgrade(&config), plugin });
        forget_destroyed(plugins);
    });
    config
}

/// A new stream. A worker loads a configuration with the first stream of it.
fn open(config: &Arc<Config>) -> Stream<'static, Proxy> {
    let number = NEXT_STREAM.replace(NEXT_STREAM.get().wrapping_add(1));
    PLUGINS.with_borrow_mut(|plugins| {
        if let Some(found) = plugins.iter().find(|plugin| plugin.id == config.id) {
            return found.plugin.stream(number);
        }
        forget_destroyed(plugins);
        let mut plugin = Plugin::new(WORKER.with(|worker| *worker), config.id);
        host::configuring(config, || plugin.follow());
        let stream = plugin.stream(number);
        plugins.push(ConfiguredPlugin { id: config.id, config: Arc::downgrade(config), plugin });
        stream
    })
}

/// Calls with Envoy's object as the context. `None` if the call panics, which the panic hook has logged.
fn guarded<T>(context: Context, call: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(|| context.enter(call))).ok()
}

/// Calls a stream. Gives `otherwise` where it has failed, and where Envoy calls back while a hook of the stream runs, as
/// it does for the module's own response. If the call panics, the request or response ends.
pub(crate) fn stream<T>(
    filter: *const c_void,
    envoy: EnvoyFilter,
    response_begun: bool,
    otherwise: T,
    call: impl FnOnce(&mut Stream<'static, Proxy>) -> T,
) -> T {
    // SAFETY: Envoy passes what `envoy_dynamic_module_on_http_filter_new` returned, and not after it was destroyed.
    let Some(filter) = (unsafe { filter.cast::<Filter>().as_ref() }) else { return otherwise };
    let result = {
        let Ok(mut stream) = filter.stream.try_borrow_mut() else { return otherwise };
        let Some(stream) = stream.as_mut() else { return otherwise };
        guarded(Context::Filter(envoy), || call(stream))
    };
    result.unwrap_or_else(|| {
        // What it holds is freed. A panic of that is one too many, and loses a piece of memory.
        let failed = filter.stream.take();
        guarded(Context::None, || drop(failed));
        host::fail(envoy, response_begun);
        otherwise
    })
}

fn code(action: Action) -> u32 {
    match action {
        Action::Continue => CONTINUE,
        Action::Pause => STOP_ITERATION,
        Action::Drop => STOP_ITERATION_NO_BUFFER,
    }
}

// SAFETY (of every `no_mangle` below): these are the names by which Envoy finds the hooks, and nothing else has them.

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    static PANICS_ARE_LOGGED: Once = Once::new();
    PANICS_ARE_LOGGED.call_once(|| {
        panic::set_hook(Box::new(|info| Proxy.warn(&format!("otlp-gate: {info}"))));
    });
    abi::VERSION.as_ptr()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: EnvoyConfig,
    name: EnvoyBuffer,
    policy: EnvoyBuffer,
) -> *const c_void {
    // SAFETY: Envoy keeps both during the hook.
    let (name, policy) = unsafe { (name.bytes(), policy.bytes()) };
    let config = guarded(Context::Config(envoy), || {
        metrics::define_all(envoy).then(|| Box::into_raw(Box::new(configure(name, policy))))
    });
    // Without a policy, requests are answered so that their clients try again. Null makes Envoy reject the
    // configuration as a whole.
    config.flatten().unwrap_or(ptr::null_mut()).cast_const().cast()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const c_void) {
    if config.is_null() {
        return;
    }
    // SAFETY: Envoy returns what `envoy_dynamic_module_on_http_filter_config_new` gave it, once.
    let config = unsafe { Box::from_raw(config.cast_mut().cast::<Arc<Config>>()) };
    guarded(Context::None, || drop(config));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    envoy: EnvoyFilter,
) -> *const c_void {
    // SAFETY: Envoy passes what `envoy_dynamic_module_on_http_filter_config_new` returned, before it is destroyed.
    let config = unsafe { config.cast::<Arc<Config>>().as_ref() };
    let stream = config.and_then(|config| guarded(Context::Filter(envoy), || open(config)));
    // Null makes Envoy close the stream.
    let filter = stream.map(|stream| Box::into_raw(Box::new(Filter { stream: RefCell::new(Some(stream)) })));
    filter.unwrap_or(ptr::null_mut()).cast_const().cast()
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: EnvoyFilter,
    filter: *const c_void,
    end_of_stream: bool,
) -> u32 {
    code(stream(filter, envoy, false, Action::Pause, |stream| stream.on_request_headers(end_of_stream)))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: EnvoyFilter,
    filter: *const c_void,
    end_of_stream: bool,
) -> u32 {
    code(stream(filter, envoy, false, Action::Drop, |stream| {
        // Envoy takes no `Pause` for a body.
        match stream.on_request_body(host::request_body_size(envoy), end_of_stream) {
            Action::Pause => Action::Drop,
            action => action,
        }
    }))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    envoy: EnvoyFilter,
    filter: *const c_void,
) -> u32 {
    code(stream(filter, envoy, false, Action::Pause, Stream::on_request_trailers))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    envoy: EnvoyFilter,
    filter: *const c_void,
    end_of_stream: bool,
) -> u32 {
    code(stream(filter, envoy, true, Action::Continue, |stream| stream.on_response_headers(end_of_stream)))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    envoy: EnvoyFilter,
    filter: *const c_void,
    end_of_stream: bool,
) -> u32 {
    stream(filter, envoy, true, (), |stream| stream.on_response_body(end_of_stream));
    CONTINUE
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    envoy: EnvoyFilter,
    filter: *const c_void,
) -> u32 {
    code(stream(filter, envoy, true, Action::Continue, Stream::on_response_trailers))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    envoy: EnvoyFilter,
    filter: *const c_void,
) {
    stream(filter, envoy, true, (), |stream| stream.on_log());
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn envoy_dynamic_module_on_http_filter_destroy(filter: *const c_void) {
    if filter.is_null() {
        return;
    }
    // SAFETY: Envoy returns what `envoy_dynamic_module_on_http_filter_new` gave it, once.
    let filter = unsafe { Box::from_raw(filter.cast_mut().cast::<Filter>()) };
    guarded(Context::None, || drop(filter));
}

/// Names of hooks that Envoy requires and that have nothing to do here. Their arguments are not read.
macro_rules! unused {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $name() {}
        )*
    };
}

unused! {
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
}

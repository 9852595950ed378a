//! A gate without Kubernetes: an Envoy with the filter on this machine, in front of an OTLP backend, or several as its
//! replicas.
//!
//! The config file and the certificates are watched. A valid change is loaded into the running Envoy, and open
//! connections stay. An invalid one is reported, and the previous version stays in use.

mod policy;
mod port;
mod watch;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, select_all, try_join_all};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::address::Address;
use crate::certs::{ClientTrust, Folder, ListenerTls};
use crate::config::{AccessLog, FilterHost};
use crate::envoy::{
    self, Addresses, Admin, Bootstrap, DynamicResource, Envoy, LogLevel, StartOptions, dynamic,
};
use crate::error::Error;
use crate::file;
use crate::module::{self, NativeModule, native};
use crate::output::say;
use policy::LocalPolicy;
use watch::Watch;

/// How often the files are read. A change takes effect when two reads in a row return it.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Settings of a local gate.
#[derive(Debug)]
pub(crate) struct Options {
    /// The config file.
    pub(crate) config: PathBuf,
    /// OTLP/gRPC listener address; `None` for `0.0.0.0` and the config file's port. Port 0 chooses a free one.
    pub(crate) grpc: Option<SocketAddr>,
    /// OTLP/HTTP listener address; `None` for `0.0.0.0` and the config file's port. Port 0 chooses a free one.
    pub(crate) http: Option<SocketAddr>,
    /// The backend for OTLP/gRPC.
    pub(crate) backend: Address,
    /// The backend for OTLP/HTTP.
    pub(crate) backend_http: Address,
    /// The engine of shared quotas; `None` for the config file's.
    pub(crate) engine: Option<Address>,
    /// The file of the access log; `-` for standard output. `None` for no log.
    pub(crate) access_log: Option<PathBuf>,
    /// The folder with the certificates.
    pub(crate) certs: PathBuf,
    /// Envoy's binary; `None` to search for it ([`envoy::find`]).
    pub(crate) envoy: Option<PathBuf>,
    /// How many Envoys listen on the same addresses. The kernel spreads connections over them.
    pub(crate) replicas: NonZeroU8,
    /// The native module; `None` to run the filter in a Wasm VM.
    pub(crate) native: Option<NativeModule>,
    /// Number of each Envoy's worker threads; `None` for one per core.
    pub(crate) concurrency: Option<u32>,
    /// Envoy's log level.
    pub(crate) log_level: LogLevel,
    /// Whether Envoy's log and reloads are printed to standard error.
    pub(crate) verbose: bool,
}

/// A running gate. On drop, its processes and its files are removed.
#[derive(Debug)]
pub(crate) struct LocalGate {
    first: Replica,
    others: Vec<Replica>,
    policy: LocalPolicy,
    /// The policy that Envoy has.
    policy_text: String,
    listener: ListenerTls,
    clients: ClientTrust,
    /// Whether Envoy passes on the certificates that clients present besides their own.
    chain: bool,
    version: u64,
    options: Options,
    watched_config: Watch,
    watched_certificates: Watch,
}

/// One Envoy.
#[derive(Debug)]
struct Replica {
    // Fields are dropped in this order: Envoy must end before its folder is removed.
    envoy: Envoy,
    addresses: Addresses,
    run: TempDir,
}

impl LocalGate {
    /// Starts the replicas and waits until they serve with the policy and the certificates.
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        // Created before the files are parsed, so that a change in between is not missed.
        let watched_config = Watch::new(vec![options.config.clone()]);
        let policy = read_policy(&options)?;
        let folder = Folder::at(&options.certs);
        let watched_certificates = watch_certificates(&policy, &folder);
        let (listener, clients) = (ListenerTls::read(&folder)?, ClientTrust::read(&policy.config, &folder)?);
        let policy_text = policy.text(&clients)?;
        let binary = envoy::find(options.envoy.as_deref())?;
        if options.native.is_some() {
            native::check_envoy(&binary, envoy::version(&binary)?)?;
        }
        let grpc = options.grpc.unwrap_or(policy.grpc);
        let http = options.http.unwrap_or(policy.http);
        port::check(grpc, "grpc")?;
        port::check(http, "http")?;

        let chain = !policy.config.client_cas.is_empty();
        let engine = policy.engine()?;
        let access_log = access_log(options.access_log.as_deref(), policy.config.gateway.access_log)?;
        let new = |grpc, http| NewReplica {
            grpc,
            http,
            engine: engine.as_ref(),
            access_log,
            chain,
            policy: &policy_text,
            listener: &listener,
            clients: &clients,
        };
        let first = new(grpc, http).start(&binary, &options).await?;
        let Addresses { grpc, http, .. } = first.addresses;
        let others = (1..options.replicas.get()).map(|_| new(grpc, http).start(&binary, &options));
        let others = try_join_all(others).await?;
        let version = 1;
        let gate = LocalGate {
            first,
            others,
            policy,
            policy_text,
            listener,
            clients,
            chain,
            version,
            options,
            watched_config,
            watched_certificates,
        };
        gate.print_warnings(&gate.policy);
        gate.clients.warnings().iter().filter(|_| gate.options.verbose).for_each(Error::warn);
        Ok(gate)
    }

    /// The addresses it listens on.
    pub(crate) fn addresses(&self) -> Addresses {
        self.first.addresses
    }

    fn replicas(&self) -> impl Iterator<Item = &Replica> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// The addresses of the admin interfaces of all replicas.
    pub(crate) fn admins(&self) -> impl Iterator<Item = SocketAddr> {
        self.replicas().map(|replica| replica.addresses.admin)
    }

    /// The first replica's admin interface.
    pub(crate) fn admin(&self) -> &Admin {
        self.first.envoy.admin()
    }

    /// From now on prints reloads to standard error.
    pub(crate) fn set_verbose(&mut self) {
        self.options.verbose = true;
    }

    /// Reloads changed files until Envoy ends by itself; returns why it ended.
    pub(crate) async fn serve(&mut self) -> Error {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Certificates that are not valid now may become valid without a change, such as a revocation list whose
        // `thisUpdate` is in the future.
        let mut invalid = false;
        loop {
            tokio::select! {
                error = self.ended() => return error,
                _ = ticks.tick() => {}
            }
            if self.watched_config.changed() {
                let result = self.reload_policy().await;
                self.report(result, "the previous policy stays in use");
            }
            let changed = self.watched_certificates.changed();
            let valid = || self.certificates_are_valid();
            if changed || (invalid && !self.watched_certificates.is_changing() && valid()) {
                let result = self.reload_certificates().await;
                invalid = !self.certificates_are_valid();
                self.report(result, "the previous certificates stay in use");
            }
        }
    }

    /// Stops the replicas.
    pub(crate) async fn stop(self) {
        let all = [self.first].into_iter().chain(self.others);
        join_all(all.map(|Replica { envoy, run, .. }| async move {
            envoy.stop().await;
            drop(run);
        }))
        .await;
    }

    /// Waits until a replica ends by itself; returns why it ended.
    async fn ended(&mut self) -> Error {
        let all = [&mut self.first].into_iter().chain(&mut self.others);
        select_all(all.map(|replica| Box::pin(replica.envoy.ended()))).await.0
    }

    async fn reload_policy(&mut self) -> Result<String, Error> {
        let policy = read_policy(&self.options)?;
        let changed = |option: Option<_>, old, new| option.is_none() && old != new;
        let listeners = if changed(self.options.grpc, self.policy.grpc, policy.grpc)
            || changed(self.options.http, self.policy.http, policy.http)
        {
            "; restart to use the new listener ports"
        } else if !self.chain && !policy.config.client_cas.is_empty() {
            "; restart to identify clients of intermediate CAs"
        } else if policy.engine()? != self.policy.engine()? {
            "; restart to use the new quota engine"
        } else {
            ""
        };
        let cas_changed = policy.config.client_cas != self.policy.config.client_cas;
        let clients = match ClientTrust::read(&policy.config, &self.folder()) {
            Ok(clients) => clients,
            // The change of a certificate reports the error.
            Err(_) if !cas_changed => self.clients.clone(),
            Err(error) => return Err(error),
        };
        self.update_policy(policy.text(&clients)?).await?;
        self.update_clients(clients).await?;
        if cas_changed {
            self.watched_certificates = watch_certificates(&policy, &self.folder());
        }
        self.print_warnings(&policy);
        let rules = policy.config.clients.len();
        self.policy = policy;
        let plural = if rules == 1 { "" } else { "s" };
        Ok(format!("policy updated: {rules} client rule{plural}{listeners}"))
    }

    async fn reload_certificates(&mut self) -> Result<String, Error> {
        // The clients' CAs and revocation lists are loaded first and on their own: a revocation must take effect even
        // if the server's certificate is invalid or Envoy rejects it. The policy ends the open connections of revoked
        // clients.
        let clients = ClientTrust::read(&self.policy.config, &self.folder())?;
        let text = self.policy.text(&clients)?;
        self.update_clients(clients).await?;
        self.update_policy(text).await?;
        let new = ListenerTls::read(&self.folder())?;
        if new != self.listener {
            self.update(DynamicResource::Server, |_| dynamic::server(&new.server, &new.key)).await?;
            self.listener = new;
        }
        Ok("certificates updated: new connections use them".to_owned())
    }

    async fn update_policy(&mut self, text: String) -> Result<(), Error> {
        if text != self.policy_text {
            let host = FilterHost::new(self.options.native.is_some());
            let filter = |run: &Path| dynamic::filter(host, &module_file(run, host), &text);
            self.update(DynamicResource::Policy, filter).await?;
            self.policy_text = text;
        }
        Ok(())
    }

    async fn update_clients(&mut self, clients: ClientTrust) -> Result<(), Error> {
        let resource = clients_resource(&clients);
        if resource != clients_resource(&self.clients) {
            self.update(DynamicResource::Clients, |_| resource.clone()).await?;
        }
        self.clients = clients;
        Ok(())
    }

    fn certificates_are_valid(&self) -> bool {
        let folder = self.folder();
        ListenerTls::read(&folder).is_ok() && ClientTrust::read(&self.policy.config, &folder).is_ok()
    }

    fn folder(&self) -> Folder {
        Folder::at(&self.options.certs)
    }

    async fn update(
        &mut self,
        kind: DynamicResource,
        resource: impl Fn(&Path) -> Value,
    ) -> Result<(), Error> {
        self.version += 1;
        for Replica { envoy, run, .. } in self.replicas() {
            let rejected = envoy.admin().rejected_updates(kind).await?;
            kind.publish(run.path(), self.version, &resource(run.path()))?;
            envoy.updated(kind, self.version, rejected).await?;
        }
        Ok(())
    }

    fn print_warnings(&self, policy: &LocalPolicy) {
        if self.options.verbose && !policy.warnings.findings.is_empty() {
            say(&policy.warnings);
        }
    }

    /// Prints the result of a reload; `fallback` names what stays in use if it failed.
    fn report(&self, result: Result<String, Error>, fallback: &str) {
        if !self.options.verbose {
            return;
        }
        match result {
            Ok(message) => say(message),
            Err(error) => {
                // The exit code is not used: the gate keeps running.
                let _ = error.report();
                say(fallback);
            }
        }
    }
}

/// What a replica starts with.
struct NewReplica<'a> {
    grpc: SocketAddr,
    http: SocketAddr,
    engine: Option<&'a (String, Address)>,
    /// Which requests are logged, and to which file; without a file to standard output.
    access_log: (AccessLog, Option<&'a str>),
    chain: bool,
    policy: &'a str,
    listener: &'a ListenerTls,
    clients: &'a ClientTrust,
}

impl NewReplica<'_> {
    async fn start(self, binary: &Path, options: &Options) -> Result<Replica, Error> {
        // It will contain the server's key.
        let run = file::temporary_folder("otlp-gate-")?;
        let host = FilterHost::new(options.native.is_some());
        let module = module_file(run.path(), host);
        fs::write(&module, options.native.as_ref().map_or(module::bytes(), NativeModule::bytes))
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", module.display())))?;
        for (kind, resource) in [
            (DynamicResource::Policy, dynamic::filter(host, &module, self.policy)),
            (DynamicResource::Server, dynamic::server(&self.listener.server, &self.listener.key)),
            (DynamicResource::Clients, clients_resource(self.clients)),
        ] {
            kind.publish(run.path(), 1, &resource)?;
        }
        let bootstrap = Bootstrap {
            grpc: self.grpc,
            http: self.http,
            backend: &options.backend,
            backend_http: &options.backend_http,
            engine: self.engine.map(|(cluster, address)| (cluster.as_str(), address)),
            access_log: self.access_log,
            chain: self.chain,
            host,
            run: run.path(),
        };
        let start = StartOptions {
            binary,
            run: run.path(),
            concurrency: options.concurrency,
            log_level: options.log_level,
            relay_log: options.verbose,
            logs_to_stdout: self.access_log.0 != AccessLog::Off && self.access_log.1.is_none(),
        };
        let mut envoy = Envoy::start(&start, &bootstrap.to_json()).await?;
        let addresses = envoy.ready().await?;
        Ok(Replica { envoy, addresses, run })
    }
}

/// Which requests are logged, and to which file; without a file to standard output.
///
/// # Errors
/// The file cannot be written.
fn access_log(file: Option<&Path>, log: AccessLog) -> Result<(AccessLog, Option<&str>), Error> {
    let Some(file) = file else { return Ok((AccessLog::Off, None)) };
    let log = if log == AccessLog::Off { AccessLog::All } else { log };
    if file.as_os_str() == "-" {
        return Ok((log, None));
    }
    let cannot =
        |why: &dyn std::fmt::Display| Error::failed(format_args!("cannot write {}: {why}", file.display()));
    File::options().append(true).create(true).open(file).map_err(|e| cannot(&e))?;
    let path = file.to_str().ok_or_else(|| cannot(&"its name is not UTF-8"))?;
    Ok((log, Some(path)))
}

fn clients_resource(clients: &ClientTrust) -> Value {
    dynamic::clients(&clients.certificates, clients.revocations.as_deref())
}

fn watch_certificates(policy: &LocalPolicy, folder: &Folder) -> Watch {
    let clients = ClientTrust::files(&policy.config, folder);
    Watch::new(ListenerTls::files(folder).into_iter().chain(clients).collect())
}

/// The policy of the config file, if the filter's host can do what it needs.
fn read_policy(options: &Options) -> Result<LocalPolicy, Error> {
    let policy = LocalPolicy::read(&options.config, options.engine.as_ref())?;
    if options.native.is_some() && policy.engine()?.is_some() {
        return Err(
            Error::failed(native::NO_ENGINE).hint("leave out `--native`, or `quotas.engine` and `--engine`")
        );
    }
    Ok(policy)
}

fn module_file(run: &Path, host: FilterHost) -> PathBuf {
    run.join(match host {
        FilterHost::Wasm => "otlp-gate.wasm",
        FilterHost::Native => native::FILE,
    })
}

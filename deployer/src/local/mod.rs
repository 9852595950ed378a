//! The gate without Kubernetes: a real Envoy with the filter on this machine, in front of an OTLP receiver.
//!
//! The config file and the certificates are watched. A change that is good reaches Envoy in place, and open connections
//! stay; a bad one is told and left out.

mod policy;
mod port;
mod watch;

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::address::Address;
use crate::certs::ListenerTls;
use crate::envoy::{self, Addresses, Admin, Bootstrap, Dynamic, Envoy, LogLevel, Start, dynamic};
use crate::error::Error;
use crate::module;
use crate::output::say;
use policy::LocalPolicy;
use watch::Watch;

/// How often the files are looked at. A change acts at the second look that sees it.
const LOOK: Duration = Duration::from_millis(200);

/// What a local gate is made of.
#[derive(Debug)]
pub struct Options {
    /// The config file.
    pub config: PathBuf,
    /// Where OTLP/gRPC listens instead of where the config file says; port 0 takes a free one.
    pub grpc: Option<SocketAddr>,
    /// Where OTLP/HTTP listens instead of where the config file says; port 0 takes a free one.
    pub http: Option<SocketAddr>,
    /// The receiver of gRPC.
    pub backend: Address,
    /// The receiver of HTTP.
    pub backend_http: Address,
    /// The folder with the certificates.
    pub certs: PathBuf,
    /// Envoy's binary, where it is not to be looked for.
    pub envoy: Option<PathBuf>,
    /// Envoy's worker threads; `None`: one per core.
    pub concurrency: Option<u32>,
    /// How much Envoy logs.
    pub log_level: LogLevel,
    /// Whether Envoy's log and what happens to the files is told on stderr.
    pub talk: bool,
}

/// A gate that serves. Dropped, it is gone: process, ports and files.
#[derive(Debug)]
pub struct Gate {
    // Fields are dropped in this order: Envoy ends before its folder goes.
    envoy: Envoy,
    addresses: Addresses,
    policy: LocalPolicy,
    certificates: ListenerTls,
    version: u64,
    options: Options,
    watched_config: Watch,
    watched_certificates: Watch,
    run: TempDir,
}

impl Gate {
    /// Starts Envoy and waits until it serves with the policy and the certificates.
    pub async fn start(options: Options) -> Result<Self, Error> {
        // From before the files are read, so that no change falls in between.
        let watched_config = Watch::new(vec![options.config.clone()]);
        let watched_certificates = Watch::new(ListenerTls::files(&options.certs));
        let policy = LocalPolicy::read(&options.config)?;
        let certificates = ListenerTls::read(&options.certs)?;
        let binary = envoy::find(options.envoy.as_deref())?;
        let grpc = options.grpc.unwrap_or(policy.grpc);
        let http = options.http.unwrap_or(policy.http);
        port::check(grpc, "grpc")?;
        port::check(http, "http")?;

        // The server's key will be in it.
        let private = Permissions::from_mode(0o700);
        let run = tempfile::Builder::new().prefix("otlp-gate-").permissions(private).tempdir();
        let run = run.map_err(|error| Error::failed(format!("cannot make a temporary folder: {error}")))?;
        let module = module_file(run.path());
        fs::write(&module, module::bytes())
            .map_err(|error| Error::failed(format!("{}: cannot write: {error}", module.display())))?;
        for (part, resource) in parts(run.path(), &policy, &certificates) {
            part.publish(run.path(), 1, &resource)?;
        }
        let (backend, backend_http) = (&options.backend, &options.backend_http);
        let bootstrap = Bootstrap { grpc, http, backend, backend_http, run: run.path() }.to_json();
        let start = Start {
            binary: &binary,
            run: run.path(),
            concurrency: options.concurrency,
            log_level: options.log_level,
            relay_log: options.talk,
        };
        let mut envoy = Envoy::start(&start, &bootstrap).await?;
        let addresses = envoy.ready().await?;
        let version = 1;
        let gate = Gate {
            envoy,
            addresses,
            policy,
            certificates,
            version,
            options,
            watched_config,
            watched_certificates,
            run,
        };
        gate.warn(&gate.policy);
        Ok(gate)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Envoy's admin interface.
    pub fn admin(&self) -> &Admin {
        self.envoy.admin()
    }

    /// From here on, tells on stderr what happens to the files.
    pub fn talk(&mut self) {
        self.options.talk = true;
    }

    /// Follows the files until Envoy ends by itself, which it should not; says why it did.
    pub async fn serve(&mut self) -> Error {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Files that do not fit and will without a change, such as a revocation list that is from the future.
        let mut unfit = false;
        loop {
            tokio::select! {
                error = self.envoy.died() => return error,
                _ = looks.tick() => {}
            }
            if self.watched_config.changed() {
                let done = self.reload_policy().await;
                self.report(done, "the policy before it stays in force");
            }
            let changed = self.watched_certificates.changed();
            let fits = || ListenerTls::read(&self.options.certs).is_ok();
            if changed || (unfit && !self.watched_certificates.is_changing() && fits()) {
                let done = self.reload_certificates().await;
                unfit = ListenerTls::read(&self.options.certs).is_err();
                self.report(done, "the certificates before them stay in use");
            }
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.envoy.stop().await;
    }

    async fn reload_policy(&mut self) -> Result<String, Error> {
        let policy = LocalPolicy::read(&self.options.config)?;
        let moved = |asked: Option<_>, was, is| asked.is_none() && was != is;
        let listeners = if moved(self.options.grpc, self.policy.grpc, policy.grpc)
            || moved(self.options.http, self.policy.http, policy.http)
        {
            "; listeners move at the next start"
        } else {
            ""
        };
        if policy.text != self.policy.text {
            self.update(Dynamic::Policy, &dynamic::filter(&module_file(self.run.path()), &policy.text))
                .await?;
        }
        self.warn(&policy);
        let rules = policy.rules;
        self.policy = policy;
        let plural = if rules == 1 { "" } else { "s" };
        Ok(format!("policy updated: {rules} client rule{plural}{listeners}"))
    }

    async fn reload_certificates(&mut self) -> Result<String, Error> {
        // Who may come in first, and by itself: a server's certificate that is of no use, be it to us or to Envoy, keeps nobody in
        // who was shut out with it.
        let (client_ca, client_crl) = ListenerTls::read_clients(&self.options.certs)?;
        let was = &self.certificates;
        if (&client_ca, &client_crl) != (&was.client_ca, &was.client_crl) {
            let clients = dynamic::clients(&client_ca, client_crl.as_deref());
            self.update(Dynamic::Clients, &clients).await?;
            self.certificates.client_ca = client_ca;
            self.certificates.client_crl = client_crl;
        }
        let now = ListenerTls::read(&self.options.certs)?;
        let was = &self.certificates;
        if (&now.server, &now.key) != (&was.server, &was.key) {
            self.update(Dynamic::Server, &dynamic::server(&now.server, &now.key)).await?;
            self.certificates = now;
        }
        Ok("certificates updated: new connections use them".to_owned())
    }

    async fn update(&mut self, part: Dynamic, resource: &Value) -> Result<(), Error> {
        self.version += 1;
        let refused = self.envoy.admin().refused(part).await?;
        part.publish(self.run.path(), self.version, resource)?;
        self.envoy.updated(part, self.version, refused).await
    }

    fn warn(&self, policy: &LocalPolicy) {
        if self.options.talk && !policy.warnings.findings.is_empty() {
            say(&policy.warnings);
        }
    }

    fn report(&self, done: Result<String, Error>, otherwise: &str) {
        if !self.options.talk {
            return;
        }
        match done {
            Ok(what) => say(what),
            Err(error) => {
                // Its exit code is for commands that end with it.
                let _ = error.report();
                say(otherwise);
            }
        }
    }
}

fn parts(run: &Path, policy: &LocalPolicy, certificates: &ListenerTls) -> [(Dynamic, Value); 3] {
    let ListenerTls { server, key, client_ca, client_crl } = certificates;
    [
        (Dynamic::Policy, dynamic::filter(&module_file(run), &policy.text)),
        (Dynamic::Server, dynamic::server(server, key)),
        (Dynamic::Clients, dynamic::clients(client_ca, client_crl.as_deref())),
    ]
}

fn module_file(run: &Path) -> PathBuf {
    run.join("otlp-gate.wasm")
}

//! An Envoy as our child: started, watched, ended.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::admin::{Addresses, Admin};
use super::dynamic::Dynamic;
use super::log::{FORMAT, Log};
use crate::error::Error;

/// How long Envoy may take to compile the module and bind its listeners.
const START: Duration = Duration::from_secs(30);
/// How long Envoy may take to put a changed part to use.
const UPDATE: Duration = Duration::from_secs(10);
/// How long Envoy may take to end.
const END: Duration = Duration::from_secs(5);
/// How often we look whether what we wait for is there.
const LOOK: Duration = Duration::from_millis(10);

/// How much Envoy logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "Envoy's own names")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    Off,
}

/// How an Envoy is started.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Its binary.
    pub binary: &'a Path,
    /// A folder of its own.
    pub run: &'a Path,
    /// Its worker threads; `None`: one per core.
    pub concurrency: Option<u32>,
    /// How much it logs.
    pub log_level: LogLevel,
    /// Whether its log goes to our stderr.
    pub relay_log: bool,
}

/// A running Envoy. It is killed when this is dropped, and by the kernel should we be killed ourselves.
#[derive(Debug)]
pub struct Envoy {
    child: Watched,
    admin: Admin,
}

/// A child and what it said.
#[derive(Debug)]
struct Watched {
    child: Child,
    log: Log,
    /// Ends when all that the child said is in the log.
    reader: JoinHandle<()>,
}

impl Envoy {
    /// Starts Envoy with this bootstrap and waits until its admin interface answers.
    pub async fn start(start: &Start<'_>, bootstrap: &Value) -> Result<Self, Error> {
        let config = start.run.join("envoy.json");
        let admin_file = start.run.join("admin.txt");
        fs::write(&config, bootstrap.to_string())
            .map_err(|error| Error::failed(format!("{}: cannot write: {error}", config.display())))?;
        let mut child = Watched::spawn(start, &config, &admin_file)?;
        let deadline = Instant::now() + START;
        loop {
            // Envoy writes the file before the address is in it.
            let address = fs::read_to_string(&admin_file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(address) = address {
                return Ok(Envoy { child, admin: Admin::new(address) });
            }
            child.look_again(deadline, "open its admin interface").await?;
        }
    }

    /// Waits until Envoy serves: its listeners are bound, and it has put the first version of every part to use.
    pub async fn ready(&mut self) -> Result<Addresses, Error> {
        let deadline = Instant::now() + START;
        while !self.admin.is_live().await {
            self.child.look_again(deadline, "serve").await?;
        }
        for part in Dynamic::ALL {
            if self.admin.version(part).await?.is_none() {
                return Err(self.child.complaint("envoy did not accept its configuration"));
            }
        }
        self.admin.addresses().await
    }

    /// Waits until Envoy has put this version of a part to use; an error if it refuses. `refused` is how many
    /// versions Envoy had refused before this one came ([`Admin::refused`]).
    pub async fn updated(&self, part: Dynamic, version: u64, refused: u64) -> Result<(), Error> {
        let deadline = Instant::now() + UPDATE;
        while self.admin.version(part).await? != Some(version) {
            if self.admin.refused(part).await? > refused {
                return Err(self.child.complaint("envoy refused the change"));
            }
            if Instant::now() > deadline {
                return Err(Error::failed(format!(
                    "envoy did not take the change within {} s",
                    UPDATE.as_secs()
                )));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Envoy's admin interface.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Waits until Envoy ends by itself, and says why it did.
    pub async fn died(&mut self) -> Error {
        let status = self.child.child.wait().await;
        self.child.ended(status).await
    }

    /// Ends Envoy: politely, then by force.
    pub async fn stop(self) {
        let mut child = self.child.child;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        if !(asked && timeout(END, child.wait()).await.is_ok()) {
            // An error here means that it has ended already.
            let _ = child.kill().await;
        }
    }
}

impl Watched {
    fn spawn(start: &Start<'_>, config: &Path, admin_file: &Path) -> Result<Self, Error> {
        let cannot = |why: String| Error::failed(format!("{}: cannot start: {why}", start.binary.display()));
        let mut child = command(start, config, admin_file).spawn().map_err(|error| {
            let cannot = cannot(error.to_string());
            match error.kind() {
                ErrorKind::PermissionDenied => cannot.hint("it must be executable: `chmod +x` makes it so"),
                _ => cannot,
            }
        })?;
        let stderr = child.stderr.take().ok_or_else(|| cannot("no stderr".to_owned()))?;
        let log = Log::default();
        let reader = tokio::spawn(log.clone().follow(stderr, start.relay_log));
        Ok(Watched { child, log, reader })
    }

    /// Waits a moment; an error if Envoy has ended or the time is over.
    async fn look_again(&mut self, deadline: Instant, what: &str) -> Result<(), Error> {
        if let Ok(status) = timeout(LOOK, self.child.wait()).await {
            return Err(self.ended(status).await);
        }
        if Instant::now() > deadline {
            return Err(self.complaint(&format!("envoy did not {what} within {} s", START.as_secs())));
        }
        Ok(())
    }

    async fn ended(&mut self, status: io::Result<ExitStatus>) -> Error {
        // What it said last may still be in the pipe.
        let _ = timeout(END, &mut self.reader).await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.complaint(&format!("envoy ended ({status})"))
    }

    fn complaint(&self, what: &str) -> Error {
        let complaints = self.log.complaints().into_iter();
        Error::failed(complaints.fold(what.to_owned(), |all, complaint| format!("{all}\n  {complaint}")))
    }
}

fn command(start: &Start<'_>, config: &Path, admin_file: &Path) -> Command {
    let level =
        start.log_level.to_possible_value().map(|level| level.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(start.binary);
    command.arg("--config-path").arg(config).arg("--admin-address-path").arg(admin_file);
    command.args([
        "--use-dynamic-base-id",
        "--log-format-escaped",
        "--log-format",
        FORMAT,
        "--log-level",
        &level,
    ]);
    if let Some(workers) = start.concurrency {
        command.args(["--concurrency", &workers.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    // In a process group of its own Ctrl-C does not reach it: it is ours to end.
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec this makes one system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            // Should we be killed, the kernel ends Envoy.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
    command
}

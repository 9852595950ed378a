//! Envoy as a child process: start, readiness, updates, end.

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
use super::dynamic::DynamicResource;
use super::log::{FORMAT, Log};
use crate::error::Error;

/// How long Envoy may take to compile the module and bind its listeners.
const START: Duration = Duration::from_secs(30);
/// How long Envoy may take to use a changed resource.
const UPDATE: Duration = Duration::from_secs(10);
/// How long Envoy may take to end after SIGTERM.
const END: Duration = Duration::from_secs(5);
/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Envoy's log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    Off,
}

/// Settings of an Envoy process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartOptions<'a> {
    /// Envoy's binary.
    pub(crate) binary: &'a Path,
    /// A folder that only this process uses.
    pub(crate) run: &'a Path,
    /// Number of worker threads; `None` for one per core.
    pub(crate) concurrency: Option<u32>,
    /// Envoy's log level.
    pub(crate) log_level: LogLevel,
    /// Whether Envoy's log is printed to standard error.
    pub(crate) relay_log: bool,
    /// Whether Envoy writes its access log to this process's standard output.
    pub(crate) logs_to_stdout: bool,
}

/// A running Envoy. It is killed on drop, and by the kernel if this process is killed.
#[derive(Debug)]
pub(crate) struct Envoy {
    process: LoggedProcess,
    admin: Admin,
}

/// A child process and its log.
#[derive(Debug)]
struct LoggedProcess {
    child: Child,
    log: Log,
    /// Completes when the child's standard error has been read to its end.
    reader: JoinHandle<()>,
}

impl Envoy {
    /// Starts Envoy with this bootstrap and waits until its admin interface answers.
    pub(crate) async fn start(options: &StartOptions<'_>, bootstrap: &Value) -> Result<Self, Error> {
        let config = options.run.join("envoy.json");
        let admin_file = options.run.join("admin.txt");
        fs::write(&config, bootstrap.to_string())
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", config.display())))?;
        let mut process = LoggedProcess::spawn(options, &config, &admin_file)?;
        let deadline = Instant::now() + START;
        loop {
            // Envoy creates the file before it writes the address into it.
            let address = fs::read_to_string(&admin_file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(address) = address {
                return Ok(Envoy { process, admin: Admin::new(address) });
            }
            process.poll(deadline, "open its admin interface").await?;
        }
    }

    /// Waits until Envoy serves: its listeners are bound, and it uses the first version of every dynamic resource.
    pub(crate) async fn ready(&mut self) -> Result<Addresses, Error> {
        let deadline = Instant::now() + START;
        while !self.admin.is_live().await {
            self.process.poll(deadline, "become ready").await?;
        }
        for resource in DynamicResource::ALL {
            if self.admin.version(resource).await?.is_none() {
                return Err(self.process.error("envoy rejected its configuration"));
            }
        }
        self.admin.addresses().await
    }

    /// Waits until Envoy uses this version of a resource. `rejected_before` is the number of versions that Envoy had
    /// rejected before this one was published ([`Admin::rejected_updates`]).
    ///
    /// # Errors
    /// Envoy rejected the version, or did not load it in time.
    pub(crate) async fn updated(
        &self,
        resource: DynamicResource,
        version: u64,
        rejected_before: u64,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + UPDATE;
        while self.admin.version(resource).await? != Some(version) {
            if self.admin.rejected_updates(resource).await? > rejected_before {
                return Err(self.process.error("envoy rejected the change"));
            }
            if Instant::now() > deadline {
                return Err(Error::failed(format!(
                    "envoy did not load the change within {} s",
                    UPDATE.as_secs()
                )));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Envoy's admin interface.
    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Waits until Envoy ends by itself; returns why it ended.
    pub(crate) async fn ended(&mut self) -> Error {
        let status = self.process.child.wait().await;
        self.process.exit_error(status).await
    }

    /// Ends Envoy with SIGTERM, and with SIGKILL if it does not end in time.
    pub(crate) async fn stop(self) {
        let mut child = self.process.child;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let terminated = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        if !(terminated && timeout(END, child.wait()).await.is_ok()) {
            // This fails only if the process has already ended.
            let _ = child.kill().await;
        }
    }
}

impl LoggedProcess {
    fn spawn(options: &StartOptions<'_>, config: &Path, admin_file: &Path) -> Result<Self, Error> {
        let failed =
            |reason: String| Error::failed(format!("cannot start {}: {reason}", options.binary.display()));
        let mut child = command(options, config, admin_file).spawn().map_err(|error| {
            let failed = failed(error.to_string());
            match error.kind() {
                ErrorKind::PermissionDenied => failed
                    .hint(format_args!("make the file executable: `chmod +x {}`", options.binary.display())),
                _ => failed,
            }
        })?;
        let stderr = child.stderr.take().ok_or_else(|| failed("no standard error".to_owned()))?;
        let log = Log::default();
        let reader = tokio::spawn(log.clone().follow(stderr, options.relay_log));
        Ok(LoggedProcess { child, log, reader })
    }

    /// Waits for one poll interval.
    ///
    /// # Errors
    /// Envoy has ended, or the deadline has passed before it could `step`.
    async fn poll(&mut self, deadline: Instant, step: &str) -> Result<(), Error> {
        if let Ok(status) = timeout(POLL_INTERVAL, self.child.wait()).await {
            return Err(self.exit_error(status).await);
        }
        if Instant::now() > deadline {
            return Err(self.error(&format!("envoy did not {step} within {} s", START.as_secs())));
        }
        Ok(())
    }

    async fn exit_error(&mut self, status: io::Result<ExitStatus>) -> Error {
        // The last messages may still be in the pipe.
        let _ = timeout(END, &mut self.reader).await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.error(&format!("envoy ended ({status})"))
    }

    /// An error with Envoy's last log messages below it.
    fn error(&self, message: &str) -> Error {
        let messages = self.log.last_errors().into_iter();
        Error::failed(messages.fold(message.to_owned(), |all, message| format!("{all}\n  {message}")))
    }
}

fn command(options: &StartOptions<'_>, config: &Path, admin_file: &Path) -> Command {
    let level =
        options.log_level.to_possible_value().map(|level| level.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(options.binary);
    // Where Envoy looks for dynamic modules.
    command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", options.run);
    command.arg("--config-path").arg(config).arg("--admin-address-path").arg(admin_file);
    command.args([
        // It would leave a file in /dev/shm, which a minimal system may not have.
        "--disable-hot-restart",
        "--log-format-escaped",
        "--log-format",
        FORMAT,
        "--log-level",
        &level,
        // Of the access log. The default is 10 s.
        "--file-flush-interval-msec",
        "1000",
    ]);
    if let Some(workers) = options.concurrency {
        command.args(["--concurrency", &workers.to_string()]);
    }
    let stdout = if options.logs_to_stdout { Stdio::inherit() } else { Stdio::null() };
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
    // A separate process group, so that Ctrl-C in the terminal does not reach Envoy before we end it.
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec the closure makes one system call and does not touch memory of the parent.
    unsafe {
        command.pre_exec(|| {
            // If this process is killed, the kernel ends Envoy.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
    command
}

//! `demo`: runs a gate with test clients on this machine.

use std::path::PathBuf;

use tokio::time::Instant;

use crate::demo::{Demo, render};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::runtime::until_signal;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate demo             send telemetry of valid and invalid clients through a gate
  otlp-gate demo --keep      then keep the gate running, and print how to send to it
  otlp-gate demo --json      print the result as one line of JSON

It creates certificates, starts Envoy and a backend on this machine, and removes everything at its
end. The exit code is 1 if a result is not as expected.")]
pub(crate) struct Args {
    /// Print the result as one line of JSON; the same as `-o json`
    #[arg(long)]
    json: bool,
    /// Keep the gate running until Ctrl-C, and print how to send to it
    #[arg(long)]
    keep: bool,
    /// Envoy's binary [default: on PATH, else in the cache of `cargo xtask setup`]
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
}

/// Runs the demo. Returns an error if a result is not as expected.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let format = if args.json { Format::Json } else { global.output };
    match until_signal(show(args, format))? {
        Some(true) => Ok(()),
        // The output marks what is not as expected.
        Some(false) => Err(Error::reported()),
        None if args.keep => Ok(()),
        None => Err(Error::interrupted()),
    }
}

/// Returns whether everything was as expected.
async fn show(args: &Args, format: Format) -> Result<bool, Error> {
    let (started, bar) = (Instant::now(), output::progress());
    let progress = |step: &str| bar.set_message(step.to_owned());
    let mut demo = Demo::start(args.envoy.clone(), &progress).await?;
    let result = demo.run(&progress).await?;
    bar.finish_and_clear();
    output::print(format, &result, || {
        format!("{}; finished in {:.1} s\n", render(&result), started.elapsed().as_secs_f32())
    })?;
    if args.keep {
        output::say(demo.instructions());
        return Err(demo.keep().await);
    }
    demo.stop().await;
    Ok(result.ok)
}

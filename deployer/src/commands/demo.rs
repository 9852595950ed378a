//! `otlp-gate demo`: the gate shows itself.

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
  otlp-gate demo             two clients, an impostor and three strangers; leaves nothing
  otlp-gate demo --keep      goes on, and says how to send to it
  otlp-gate demo --json      the outcome as one JSON object on one line")]
pub struct Args {
    /// The outcome as one JSON object on one line; the same as `-o json`
    #[arg(long)]
    json: bool,
    /// Go on until Ctrl-C, and say how to send to it
    #[arg(long)]
    keep: bool,
    /// Envoy's binary [default: from PATH, else from the cache]
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
}

/// Plays the demo; an error if anything was not as expected.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let format = if args.json { Format::Json } else { global.output };
    match until_signal(play(args, format))? {
        Some(true) => Ok(()),
        // What was not as expected is marked in the outcome.
        Some(false) => Err(Error::reported()),
        None if args.keep => Ok(()),
        None => Err(Error::interrupted()),
    }
}

/// Gives whether all was as expected.
async fn play(args: &Args, format: Format) -> Result<bool, Error> {
    let (begin, progress) = (Instant::now(), output::progress());
    let step = |words: &str| progress.set_message(words.to_owned());
    let mut demo = Demo::start(args.envoy.clone(), &step).await?;
    let outcome = demo.run(&step).await?;
    progress.finish_and_clear();
    output::print(format, &outcome, || {
        format!("{}; finished in {:.1} s\n", render(&outcome), begin.elapsed().as_secs_f32())
    })?;
    if args.keep {
        output::say(demo.instructions());
        return Err(demo.keep().await);
    }
    demo.stop().await;
    Ok(outcome.ok)
}

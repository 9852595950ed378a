//! `top`: shows what each client sends.

use std::env;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::args;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::global::Global;
use crate::model::Names;
use crate::output::{self, Format};
use crate::providers;
use crate::runtime::until_signal;
use crate::top::{Column, Reader, Source, View, show};

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate top
  otlp-gate top --sort quota --filter edge
  otlp-gate top --admin 127.0.0.1:9901         a gate of `otlp-gate local`, by the address it prints
  otlp-gate top -o json | jq .clients          one sample

Numbers are per second, over all replicas. QUOTA is the rate in percent of the limit that the
client is nearest to: of each replica's limit, on the replica where that is most, or with an engine
of shared quotas of the limit over all replicas. Keys: left and right choose the column to sort by,
r reverses the order, / filters by name, q ends. Where standard output is no terminal, it prints one
table and ends.")]
pub(crate) struct Args {
    /// Read the metrics of gates of `otlp-gate local`, by the addresses of their Envoys' admin interfaces, instead of a cluster's
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    admin: Vec<SocketAddr>,
    /// The column to sort by
    #[arg(long, value_enum, value_name = "COLUMN", default_value = "items")]
    sort: Column,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    /// Show only clients whose names contain this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// The time between two readings
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let every = Duration::from_secs(args.interval);
    let view = View { sort: args.sort, reverse: args.reverse, filter: args.filter.clone() };
    let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb;
    if global.output == Format::Table && has_terminal {
        // Ended by a signal: success.
        return until_signal(async { show(reader(args, global).await?, view, every).await }).map(|_| ());
    }
    let sample = until_signal(async {
        let mut reader = reader(args, global).await?;
        reader.read().await?;
        sleep(every).await;
        reader.read().await
    });
    let sample = sample?.ok_or_else(Error::interrupted)?;
    output::print(global.output, &view.of(&sample), || view.text(&sample))
}

async fn reader(args: &Args, global: &Global) -> Result<Reader, Error> {
    if !args.admin.is_empty() {
        return Ok(Reader::new(Source::Local(args.admin.clone())));
    }
    let config = args::config(global)?;
    if !config.gateway.enabled {
        return Err(Error::failed("the configuration has no gateway (`gateway.enabled: false`)")
            .hint("run `top` with the configuration of the gate that this cluster sends to"));
    }
    let workload = providers::of(&config).workload(&Names::of(&config.gateway));
    let cluster = Cluster::connect(global.context.as_deref()).await?;
    Ok(Reader::new(Source::Cluster(Box::new(cluster), workload)))
}

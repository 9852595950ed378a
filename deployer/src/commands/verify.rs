//! `verify`: checks a gate from outside, as clients see it.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};

use crate::address::Address;
use crate::args;
use crate::certs::{ClientTrust, Folder};
use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::runtime::until_signal;
use crate::verify::{self, Case, CaseResult, GateAddress, Options, Verification};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate verify                           the gate of otlp-gate.yaml and its backend
  otlp-gate verify -o json | jq .ok          for CI; the exit code is 1 if a case fails
  otlp-gate verify --address 203.0.113.7     if the hostname does not resolve
  otlp-gate verify --address localhost --no-cluster          a gate of `otlp-gate local`
  otlp-gate verify --ca company-ca.crt       if the server's certificate is of another CA

`verify` sends a few items as the client `otlp-gate/verify`, which every policy has. The command
`otlp-gate certs init` creates the certificates of the test clients.")]
pub(crate) struct Args {
    /// Address of the gate [default: the configuration's hostname, or the Gateway's address in the cluster if the
    /// hostname does not resolve]
    #[arg(long, value_name = "HOST[:PORT]")]
    address: Option<GateAddress>,
    /// Address of OTLP/HTTP [default: the same host, and the configuration's port]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<Address>,
    /// Folder with the certificates
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// The CA of the server's certificate, in PEM [default: server-ca.crt in that folder; with cert-manager, ca.crt in
    /// its Secret; with `serverCA: public`, the trusted CAs of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Do not read in the cluster what the backend receives
    #[arg(long)]
    no_cluster: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let mut loaded = args::loaded(global)?;
    ClientTrust::complete(&mut loaded, &Folder::at(&args.certs))?;
    until_signal(verify_and_print(args, global, &loaded))?.ok_or_else(Error::interrupted)
}

async fn verify_and_print(args: &Args, global: &Global, loaded: &Loaded) -> Result<(), Error> {
    let options = Options {
        address: args.address.as_ref(),
        http: args.http.as_ref(),
        certs: &args.certs,
        ca: args.ca.as_deref(),
        use_cluster: !args.no_cluster,
    };
    let bar = output::progress();
    let progress = |step: &str| bar.set_message(step.to_owned());
    let verification =
        verify::run(&options, loaded, Cluster::connect(global.context.as_deref()), &progress).await;
    bar.finish_and_clear();
    let verification = verification?;
    output::print(global.output, &verification, || table(&verification.cases))?;
    summarize(&verification);
    if verification.ok { Ok(()) } else { Err(Error::reported()) }
}

fn table(cases: &[Case]) -> String {
    let rows = cases.iter().map(|it| {
        let (style, result) = match it.result {
            CaseResult::Pass => (GOOD, "pass"),
            CaseResult::Fail => (BAD, "FAIL"),
            CaseResult::Skipped => (DIM, "skipped"),
        };
        let seen = match it.result {
            CaseResult::Fail => format!("{} (expected: {})", it.seen, it.expected),
            _ => it.seen.clone(),
        };
        [it.case.clone(), it.listener.name().to_owned(), format!("{style}{result}{style:#}"), seen]
    });
    output::columns(["CASE", "LISTENER", "RESULT", "OBSERVED"], rows)
}

fn summarize(verification: &Verification) {
    let count = |result| verification.cases.iter().filter(|it| it.result == result).count();
    output::say(format_args!(
        "\n{} passed, {} failed, {} skipped in {} s (grpc {}, http {})",
        count(CaseResult::Pass),
        count(CaseResult::Fail),
        count(CaseResult::Skipped),
        verification.seconds,
        verification.grpc,
        verification.http
    ));
    if verification.accepted_revoked() {
        output::say("hint: the gateway may have an older revocation list; run `otlp-gate apply`");
    }
    if verification.backend_is_unreachable() {
        output::say(
            "hint: the gateway cannot connect to its backend; start it, or correct its address \
             (`otlp-gate status` shows its state in a cluster)",
        );
    }
}

//! The options of every command.

use std::path::PathBuf;

use clap::Args;

use crate::output::Format;

/// The options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file; `-` reads standard input
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "otlp-gate.yaml",
        env = "OTLP_GATE_FILE"
    )]
    pub(crate) file: PathBuf,
    /// Use this namespace instead of the configuration's
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The format of results on standard output
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// Disable colour, as NO_COLOR=1 does
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

impl Global {
    /// Applies `--no-color` to everything that is printed from now on. `NO_COLOR`, and streams that are not terminals,
    /// need no call.
    pub(crate) fn choose_color(&self) {
        if self.no_color {
            anstream::ColorChoice::Never.write_global();
        }
    }

    /// Whether the configuration comes from standard input.
    pub(crate) fn file_is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

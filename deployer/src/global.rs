//! Options that every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::output::Format;

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration; `-` reads standard input
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        default_value = "otlp-gate.yaml",
        env = "OTLP_GATE_FILE"
    )]
    pub file: PathBuf,
    /// The gate's namespace, instead of the configuration's
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// How results are written to standard output
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// No colour; the same as NO_COLOR=1
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Global {
    /// Makes `--no-color` hold for everything that is printed from here on. `NO_COLOR` and streams that are no terminal
    /// are recognised without it.
    pub fn choose_color(&self) {
        if self.no_color {
            anstream::ColorChoice::Never.write_global();
        }
    }

    /// Whether the configuration comes from standard input.
    pub fn file_is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

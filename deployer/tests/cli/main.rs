//! The built command, run as users run it. Messages are snapshots, which a reviewer has read.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certs;
mod client_cas;
mod client_config;
mod config;
mod conventions;
mod examples;
mod openssl;
mod whoami;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder to run the command in.
struct Sandbox {
    folder: TempDir,
}

/// The result of a command.
#[derive(Debug)]
struct Ended {
    command: String,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    /// An empty folder.
    fn new() -> Self {
        Sandbox { folder: TempDir::new().unwrap() }
    }

    /// A folder with this otlp-gate.yaml.
    fn with(config: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("otlp-gate.yaml", config);
        sandbox
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(file), contents).unwrap();
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// The command with these arguments, separated by blanks.
    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_otlp-gate")));
        command.args(args.split_whitespace()).current_dir(self.folder.path());
        for variable in ["OTLP_GATE_FILE", "OTLP_GATE_CERTS", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, args: &str) -> Ended {
        self.run_with(args, b"")
    }

    /// With this on standard input.
    fn run_with(&self, args: &str, stdin: &[u8]) -> Ended {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read standard input may have ended.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Ended {
            command: args.to_owned(),
            code: output.status.code().unwrap_or_else(|| panic!("ended by a signal: {args}")),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Its standard output; it must have succeeded.
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// Its standard output as JSON; it must have succeeded.
    fn json(self) -> serde_json::Value {
        let text = self.ok();
        assert_eq!(text.matches('\n').count(), 1, "JSON is one line: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Its standard error; it must have failed without standard output.
    fn failure(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{self:#?}");
        assert!(!self.stderr.contains('\x1b'), "colour into a pipe: {self:#?}");
        format!("$ otlp-gate {}\n{}", self.command, self.stderr)
    }
}

//! What holds for every command.

use std::io;
use std::process::Stdio;

use crate::Sandbox;

#[test]
fn a_wrong_call_is_2_and_a_failure_is_1() {
    let sandbox = Sandbox::new();
    for (args, code) in [
        ("", 2),
        ("chek", 2),
        ("check --nonsense", 2),
        ("check -o xml", 2),
        ("certs", 2),
        ("certs client", 2),
        ("certs client ../server", 2),
        ("certs client acme --spiffe acme", 2),
        ("certs init --ca-days 0", 2),
        ("whoami", 2),
        ("-f - whoami -", 2),
        ("check", 1),
        ("certs list", 1),
        ("--help", 0),
        ("--version", 0),
        ("certs client --help", 0),
    ] {
        let ended = sandbox.run(args);
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(code == 0 || ended.stdout.is_empty(), "{ended:#?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = Sandbox::new();
    for args in ["schema", "init --stdout", "completions bash", "wasm export -", "--help"] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
        assert!(output.stderr.is_empty(), "{args}: {output:?}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let sandbox = Sandbox::with("clients: 5");
    let coloured = |args: &str, environment: Option<(&str, &str)>| {
        let output = sandbox.command(args).envs(environment).output().unwrap();
        output.stderr.contains(&b'\x1b')
    };
    assert!(!coloured("check", None), "a pipe");
    assert!(coloured("check", Some(("CLICOLOR_FORCE", "1"))), "forced");
    assert!(!coloured("check --no-color", Some(("CLICOLOR_FORCE", "1"))), "--no-color");
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    sandbox.run("man pages").ok();
    for page in ["otlp-gate.1", "otlp-gate-apply.1", "otlp-gate-certs-revoke.1"] {
        let text = std::fs::read_to_string(sandbox.path(&format!("pages/{page}"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{text}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Sandbox::new().run(&format!("completions {shell}")).ok();
        for word in ["whoami", "certs", "completions", "revoke"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_module_can_be_had_as_a_file() {
    let sandbox = Sandbox::new();
    let told = sandbox.run("wasm export").stderr;
    let module = sandbox.read("otlp-gate.wasm");
    assert!(module.starts_with(b"\0asm"));
    assert!(told.starts_with("wrote otlp-gate.wasm, sha256 "), "{told}");
    let piped = sandbox.command("wasm export -").output().unwrap();
    assert_eq!(piped.stdout, module);
}

#[test]
fn the_module_goes_where_it_is_told_and_never_into_the_configuration() {
    let sandbox = Sandbox::with("mine");
    sandbox.run("-f otlp-gate.yaml wasm export").ok();
    let by_variable =
        sandbox.command("wasm export").env("OTLP_GATE_FILE", "otlp-gate.yaml").output().unwrap();
    assert!(by_variable.status.success(), "{by_variable:?}");
    sandbox.run("wasm export -f otlp-gate.yaml other.wasm").ok();
    assert_eq!(sandbox.read("otlp-gate.yaml"), b"mine");
    assert_eq!(sandbox.read("otlp-gate.wasm"), sandbox.read("other.wasm"));
}

#[test]
fn without_a_temporary_folder_the_demo_names_the_variable() {
    let sandbox = Sandbox::new();
    let ended = sandbox.command("demo").env("TMPDIR", sandbox.path("none")).output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(
        told.contains("cannot create a temporary folder") && told.contains("hint: set TMPDIR to"),
        "{told}"
    );
}

/// Each is a call that looks right, with what is said of it.
#[test]
fn wrong_values_are_named_with_what_is_right() {
    let sandbox = Sandbox::new();
    sandbox.run("init").ok();
    sandbox.run("certs init").ok();
    for (args, code, words) in [
        ("client-config acme --address otel.example.com", 2, "the port is missing; expected HOST:PORT"),
        ("client-config acme --address otel:70000", 2, "the port must be between 1 and 65535"),
        ("verify --address localhost:x", 2, "the port must be between 1 and 65535"),
        ("verify --address localhost --http localhost", 2, "the port is missing; expected HOST:PORT"),
        ("local --backend a:1 --grpc localhost:4317", 2, "expected IP:PORT, with an address of this machine"),
        ("certs renew", 2, "<NAME|--all>"),
        ("certs renew a --all", 2, "cannot be used with"),
        ("certs revoke", 2, "<NAME|--cert <FILE>|--serial <HEX>>"),
        ("-n A_b render", 2, "`A_b` is not a valid namespace"),
        ("render --out otlp-gate.yaml", 1, "otlp-gate.yaml is not a folder"),
        ("render --client-ca none", 1, "there is no file none/client-ca.crt"),
        ("certs list --dir otlp-gate.yaml", 1, "otlp-gate.yaml is not a folder"),
        ("-f . init", 1, "cannot write .: it is a folder"),
        ("wasm push --insecure localhost:1/gate:1", 1, "check the host and port"),
        ("local --backend a:1 --envoy otlp-gate.yaml", 1, "make the file executable"),
    ] {
        let ended = sandbox.run(args);
        assert!(ended.code == code && ended.stderr.contains(words), "{ended:#?}");
        assert_eq!(ended.stdout, "", "{ended:#?}");
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named() {
    let sandbox = Sandbox::new();
    sandbox.run("init").ok();
    sandbox.write("no-context", "apiVersion: v1\nkind: Config\n");
    sandbox.write("wrong-context", "apiVersion: v1\nkind: Config\ncurrent-context: gone\n");
    for (file, words) in [
        ("nowhere", "cannot read nowhere: No such file"),
        ("no-context", "it has no current context"),
        ("wrong-context", "its current context `gone` does not exist"),
    ] {
        let output = sandbox.command("doctor").env("KUBECONFIG", file).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with(&format!("error: no usable kubeconfig: {words}")), "{told}");
    }
}

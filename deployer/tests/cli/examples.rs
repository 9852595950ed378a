//! The examples in the help and in examples/, typed into a shell: all that need neither a cluster nor Envoy.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use otlp_gate::Cli;

use crate::Sandbox;
use crate::openssl::read;

/// What needs a cluster, Envoy, a registry, or another shell.
const ELSEWHERE: [&str; 13] = [
    "kubectl get",
    "gate verify",
    " apply",
    " delete",
    " demo",
    " diff",
    " doctor",
    " local ",
    " status",
    " top",
    "completions zsh",
    "wasm push",
    "whoami --address",
];

#[test]
fn every_example_that_needs_no_cluster_works_as_it_is_written() {
    let mut examples = Vec::new();
    visit(&Cli::command(), &mut examples);
    let (skipped, here): (Vec<String>, Vec<String>) = examples.into_iter().partition(|it| elsewhere(it));
    let wrong: Vec<String> = here.iter().filter_map(|example| failure(example)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(here.len() >= 35 && skipped.len() < here.len(), "{here:#?}\n{skipped:#?}");
}

#[test]
fn every_step_of_the_examples_works_as_it_is_written() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for folder in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).unwrap() {
        let folder = folder.unwrap().path();
        // Its steps are typed in two clusters, and it shows one's config.
        if folder.ends_with("edge-cluster") {
            continue;
        }
        let sandbox = Sandbox::with(&fs::read_to_string(folder.join("otlp-gate.yaml")).unwrap());
        seen += type_steps(&sandbox, &folder.join("README.md"), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 8, "{seen}");
}

#[test]
fn every_step_of_the_pages_works_as_it_is_written() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    // Those of the examples are typed with their own configs, those of the commands' help by themselves, and those of
    // another cluster need that one's config.
    let own = |page: &Path| {
        let others = ["reference/commands.md", "guides/another-cluster.md"];
        !page.with_file_name("otlp-gate.yaml").exists() && !others.iter().any(|it| page.ends_with(it))
    };
    for page in pages().into_iter().filter(|it| own(it)) {
        let text = fs::read_to_string(&page).unwrap();
        if !code(&text).any(|line| line.starts_with("otlp-gate ") && !elsewhere(line)) {
            continue;
        }
        let sandbox = Sandbox::new();
        if !code(&text).any(|line| line.starts_with("otlp-gate init")) {
            sandbox.run("init").ok();
            sandbox.run("certs init").ok();
        }
        if text.contains("--csr zurich.csr") {
            request(&sandbox, "zurich.csr");
        }
        seen += type_steps(&sandbox, &page, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 9, "{seen}");
}

/// Types the steps of a page that need no cluster, and adds what went wrong. How many there are.
fn type_steps(sandbox: &Sandbox, page: &Path, wrong: &mut Vec<String>) -> usize {
    let text = fs::read_to_string(page).unwrap();
    let steps = code(&text).filter(|it| it.starts_with("otlp-gate ")).map(call).filter(|it| !elsewhere(it));
    let mut seen = 0;
    for step in steps {
        wrong.extend(typed(sandbox, step).map(|why| format!("{}: {why}", page.display())));
        seen += 1;
    }
    seen
}

/// The lines of a page's code: between fences, or indented by four columns.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut indent = None;
    text.lines().filter_map(move |line| {
        let content = line.trim_start();
        if content.starts_with("```") {
            indent = if indent.is_some() { None } else { Some(line.len() - content.len()) };
            return None;
        }
        match indent {
            Some(columns) => Some(line.get(columns..).unwrap_or_default()),
            None => line.strip_prefix("    "),
        }
    })
}

#[test]
fn each_proxy_sets_the_header_that_the_gate_reads() {
    let page = fs::read_to_string(root().join("docs/guides/trusted-proxies.md")).unwrap();
    let mut seen = 0;
    for section in page.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap();
        let title = section.lines().next().unwrap();
        let blocks: Vec<&str> = section.split("```").skip(1).step_by(2).collect();
        let hops: Vec<&str> = blocks.iter().filter_map(|it| it.strip_prefix("yaml\ntrustedHops")).collect();
        assert_eq!(hops.len(), 1, "{title}");
        let config = format!("apiVersion: otlp-gate/v1\nclients: []\ntrustedHops{}", hops[0]);
        let checked = Sandbox::with(&config).run("check");
        assert_eq!(checked.code, 0, "{title}: {}", checked.stderr);
        let header = hops[0].split("header: ").nth(1).and_then(|it| it.split('}').next());
        let header = header.unwrap_or("forward_client_cert_details").to_lowercase();
        // The proxy's own configuration, or the text where it has none.
        let own = blocks.iter().find(|it| !it.starts_with("yaml\ntrustedHops")).unwrap_or(&section);
        assert!(own.to_lowercase().contains(&header), "{title} does not set {header}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn lines_of_the_pages_are_at_most_120_columns() {
    let mut long = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let code = fenced || line.starts_with("    ");
            // A link has no place to be broken at.
            let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
            if !code && !line.starts_with('|') && line.chars().count() > 120 && longest < 80 {
                long.push(format!("{}:{}", page.display(), index + 1));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn messages_that_a_page_quotes_are_in_the_sources() {
    let mut sources = String::new();
    for folder in ["core/src", "deployer/src", "filter/src"] {
        text_below(&root().join(folder), &["rs"], &mut sources);
    }
    let (mut unknown, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut quotes = false;
        for line in text.lines() {
            quotes = line.starts_with("| Message |") || (quotes && line.starts_with('|'));
            let cell = line.split('|').nth(1).unwrap_or_default();
            for message in cell.split('`').skip(1).step_by(2).filter(|_| quotes) {
                let known = message.split("...").all(|part| sources.contains(part.trim()));
                unknown.extend((!known).then(|| format!("{}: {message}", page.display())));
                seen += 1;
            }
        }
    }
    assert!(unknown.is_empty(), "no source has\n{}", unknown.join("\n"));
    assert!(seen >= 15, "{seen}");
}

#[test]
fn pages_that_the_sources_name_exist() {
    let mut sources = String::new();
    for folder in ["bench", "core/src", "deployer", "examples", "filter/src", "tests", "xtask/src"] {
        text_below(&root().join(folder), &["md", "py", "rs", "yaml"], &mut sources);
    }
    let named = sources.split("docs/").skip(1).filter_map(|rest| {
        let end =
            rest.find(|it: char| !it.is_ascii_alphanumeric() && !"/-_.".contains(it)).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches('.');
        (path.ends_with(".md") || path.ends_with(".json")).then_some(path)
    });
    let missing: BTreeSet<&str> = named.filter(|it| !root().join("docs").join(it).exists()).collect();
    assert_eq!(missing, BTreeSet::new());
}

/// Adds the text of the files with these extensions, with Rust's literals that are broken over lines joined.
fn text_below(folder: &Path, extensions: &[&str], sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if entry.is_dir() {
            text_below(&entry, extensions, sources);
        } else if entry.extension().is_some_and(|it| extensions.iter().any(|wanted| it == *wanted)) {
            let text = fs::read_to_string(entry).unwrap();
            let mut parts = text.split("\\\n");
            sources.push_str(parts.next().unwrap_or_default());
            parts.for_each(|part| sources.push_str(part.trim_start()));
        }
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let (mut dead, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for (file, heading) in links(&page) {
            let to = if file.is_empty() { page.clone() } else { page.with_file_name(&file) };
            let there = to.exists() && (heading.is_empty() || headings(&to).contains(&heading));
            dead.extend((!there).then(|| format!("{}: {file}#{heading}", page.display())));
            seen += 1;
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(seen >= 15, "{seen}");
}

#[test]
fn every_page_of_the_docs_is_reachable_from_their_index() {
    let index = root().join("docs/README.md").canonicalize().unwrap();
    let (mut reached, mut next) = (BTreeSet::new(), vec![index]);
    while let Some(page) = next.pop() {
        if reached.insert(page.clone()) {
            let linked = links(&page).into_iter().map(|link| page.with_file_name(link.0));
            let pages = linked.filter(|it| it.extension().is_some_and(|it| it == "md"));
            next.extend(pages.map(|it| it.canonicalize().unwrap()));
        }
    }
    let mut docs = Vec::new();
    markdown_below(&root().join("docs"), &mut docs);
    docs.retain(|page| !reached.contains(&page.canonicalize().unwrap()));
    assert_eq!(docs, [""; 0].map(PathBuf::from));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages in the root, docs/ and the pages of examples/.
fn pages() -> Vec<PathBuf> {
    let names = ["CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];
    let mut pages: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    markdown_below(&root().join("docs"), &mut pages);
    markdown_below(&root().join("examples"), &mut pages);
    pages
}

fn markdown_below(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if entry.is_dir() {
            markdown_below(&entry, pages);
        } else if entry.extension().is_some_and(|it| it == "md") {
            pages.push(entry);
        }
    }
}

/// The relative links of a page: the file, empty for the page itself, and the heading.
fn links(page: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|it| it.0);
    let relative = targets.filter(|it| !it.starts_with("http"));
    let parts = relative.map(|it| it.split_once('#').unwrap_or((it, "")));
    parts.map(|(file, heading)| (file.to_owned(), heading.to_owned())).collect()
}

/// A page's headings as links name them: in lower case, words joined by hyphens, without the rest.
fn headings(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |it: &char| it.is_alphanumeric() || matches!(it, '-' | '_');
    let name = |line: &str| line.trim_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    headings.map(|line| name(line).chars().filter(kept).collect()).collect()
}

fn elsewhere(example: &str) -> bool {
    ELSEWHERE.iter().any(|it| example.contains(it))
}

/// A line without its explanation, and without the other programs of a pipe.
fn call(line: &str) -> &str {
    let ends = ["   ", " | jq", " | kubectl", " && kubectl"].iter().filter_map(|it| line.find(it));
    &line[..ends.min().unwrap_or(line.len())]
}

/// The examples of a command and of those below it.
fn visit(command: &clap::Command, examples: &mut Vec<String>) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for line in help.lines().filter(|line| line.contains("otlp-gate ")) {
        let Some(line) = line.strip_prefix("  ") else { continue };
        examples.push(call(line).to_owned());
    }
    command.get_subcommands().for_each(|it| visit(it, examples));
}

/// What went wrong, in a folder with all that examples take for granted, and without what this one makes.
fn failure(example: &str) -> Option<String> {
    let legacy = "clients:\n  - name: legacy\n    match: {subject: {CN: legacy}}\n";
    let config = Sandbox::new().run("init --stdout").ok().replacen("clients:\n", legacy, 1);
    let sandbox = Sandbox::with(&config);
    sandbox.write("gate.yaml", &config);
    sandbox.run("certs init").ok();
    for (file, made) in [
        ("partners-ca.crt", "client-ca.crt"),
        ("partners.crl", "client.crl"),
        ("site.crt", "server.crt"),
        ("site.key", "server.key"),
        ("site-ca.crt", "server-ca.crt"),
    ] {
        sandbox.write(file, sandbox.read(&format!("certs/{made}")));
    }
    sandbox.run("certs client acme-edge --spiffe spiffe://acme.example/edge/1").ok();
    fs::create_dir(sandbox.path("old")).unwrap();
    for file in ["old/acme-edge.crt", "client.pem"] {
        sandbox.write(file, sandbox.read("certs/clients/acme-edge.crt"));
    }
    let header = format!("Hash={};URI=spiffe://acme.example/edge/1", "9f86d081".repeat(8));
    sandbox.write("header.txt", header);
    for (makes, made) in [
        ("certs init", "certs"),
        ("certs client", "certs/clients"),
        ("certs sign", "certs/clients"),
        ("certs verify", "certs/verify"),
    ] {
        if example.contains(makes) {
            fs::remove_dir_all(sandbox.path(made)).unwrap();
        }
    }
    if example.contains("--csr") {
        ["acme-edge.csr", "legacy.csr"].iter().for_each(|file| request(&sandbox, file));
    }
    if example.contains("-gate init") {
        fs::remove_file(sandbox.path("otlp-gate.yaml")).unwrap();
    }
    if example.contains("--finish") {
        sandbox.run("certs rotate client").ok();
        sandbox.run("certs renew --all").ok();
    }
    typed(&sandbox, example)
}

/// A certificate signing request, as a client creates it.
fn request(sandbox: &Sandbox, file: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key";
    read(sandbox, &format!("req -new {key} -subj /CN=x -out {file}"));
}

fn typed(sandbox: &Sandbox, example: &str) -> Option<String> {
    let bin = sandbox.path("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_otlp-gate"), bin.join("otlp-gate")).unwrap();
    }
    fs::create_dir_all(sandbox.path(".local/share/bash-completion/completions")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", example]).current_dir(sandbox.path("")).env("HOME", sandbox.path(""));
    shell.env("PATH", format!("{}:{path}", bin.display()));
    for variable in ["OTLP_GATE_FILE", "OTLP_GATE_CERTS"] {
        shell.env_remove(variable);
    }
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then(|| format!("{example}: {}\n{said}", output.status))
}

//! Whether a Collector has checked its configuration.

use std::ffi::OsStr;

use super::Check;
use crate::error::Error;
use crate::model::Object;
use crate::otelcol::{self, Validator};

const SUBJECT: &str = "Collector";

/// The check, if there are Collectors among the objects. `checked`: the options have named what has checked them. Else
/// a Collector in a folder of `path`, the value of PATH, does.
pub(crate) fn check(objects: &[Object], checked: bool, path: &OsStr) -> Option<Check> {
    otelcol::configurations(objects).next()?;
    if checked {
        return Some(Check::pass(SUBJECT, "its own `validate` accepts its configuration"));
    }
    let hint = "name one with the components of its image, by `--otelcol` or `--otelcol-runtime`";
    let Some(program) = otelcol::on_path(path) else {
        let found = "no Collector is on PATH: its configuration is checked by what otlp-gate knows only";
        return Some(Check { hint: Some(hint.to_owned()), ..Check::pass(SUBJECT, found) });
    };
    Some(match otelcol::validate(Validator::Program(&program), objects) {
        Ok(()) => Check::pass(SUBJECT, format!("{} accepts its configuration", program.display())),
        Err(error) => rejected(&program.display().to_string(), &error, hint),
    })
}

/// A Collector that happens to be on PATH may have other components.
fn rejected(program: &str, error: &Error, hint: &str) -> Check {
    Check::warn(SUBJECT, format!("{program}: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::super::CheckResult;
    use super::*;

    #[test]
    fn a_collector_on_path_checks_the_configuration_without_options() {
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some("gate-collector".to_owned()), ..ObjectMeta::default() },
            data: Some([("config.yaml".to_owned(), "receivers: {}".to_owned())].into()),
            ..ConfigMap::default()
        };
        let objects = [Object::builtin(&map).unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str();
        let found = |checked| {
            let check = check(&objects, checked, path).unwrap();
            (check.result, check.found, check.hint.is_some())
        };
        assert_eq!(check(&[], false, path), None);
        let (result, text, hint) = found(false);
        assert!(result == CheckResult::Pass && text.contains("no Collector is on PATH") && hint, "{text}");
        for (name, answer, expected) in [
            ("otelcol", "echo Error: invalid keys >&2; exit 1", CheckResult::Warn),
            // This name comes first.
            ("otelcol-contrib", "exit 0", CheckResult::Pass),
        ] {
            let program = folder.path().join(name);
            fs::write(&program, format!("#!/bin/sh\n{answer}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let (result, text, _) = found(false);
            assert!(result == expected && text.contains(name), "{text}");
            assert_eq!(text.contains("invalid keys"), result == CheckResult::Warn, "{text}");
        }
        assert_eq!(found(true).0, CheckResult::Pass);
    }
}

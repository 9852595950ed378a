//! Checks what is attached to the gateway and is not the gate's.

use super::{Check, CheckResult};
use crate::cluster::{Cluster, attached};
use crate::error::Error;
use crate::model::{Installation, Object};

pub(super) async fn checks(
    cluster: &Cluster,
    installation: &Installation<'_>,
    objects: &[Object],
) -> Result<Vec<Check>, Error> {
    let findings = attached(cluster, installation, objects).await?;
    let check = |finding: crate::cluster::Finding| Check {
        result: if finding.is_unsafe { CheckResult::Fail } else { CheckResult::Warn },
        subject: finding.object,
        found: finding.effect,
        hint: Some("remove it unless it is intended".to_owned()),
    };
    Ok(findings.into_iter().map(check).collect())
}

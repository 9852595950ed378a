//! Checks what is attached to the gateway and is not the gate's.

use super::{Check, CheckResult};
use crate::cluster::{Attachment, Cluster, attached};
use crate::error::Error;
use crate::model::{Installation, Object};

pub(super) async fn checks(
    cluster: &Cluster,
    installation: &Installation<'_>,
    objects: &[Object],
) -> Result<Vec<Check>, Error> {
    let check = |Attachment { object, effect, is_unsafe }| Check {
        result: if is_unsafe { CheckResult::Fail } else { CheckResult::Warn },
        subject: object,
        found: effect,
        hint: Some("remove it unless it is intended".to_owned()),
    };
    Ok(attached(cluster, installation, objects).await?.into_iter().map(check).collect())
}

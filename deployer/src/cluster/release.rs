//! Which release of a control plane runs.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

/// Major and minor version, by the tag of the image, else by the label of the charts; none if the Deployment does not
/// show them.
pub(super) fn release(deployment: &Deployment) -> Option<(u32, u32)> {
    let pod = deployment.spec.as_ref().and_then(|it| it.template.spec.as_ref());
    let image = pod.and_then(|it| it.containers.first()?.image.as_deref());
    let label = deployment.labels().get("app.kubernetes.io/version").map(String::as_str);
    image.and_then(tag).and_then(number).or_else(|| label.and_then(number))
}

/// The tag of an image: `1.31.1-distroless` of `registry:5000/istio/pilot:1.31.1-distroless@sha256:...`.
fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    image.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

/// Major and minor version of a text such as `1.31.1-distroless` or `v1.30`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v').unwrap_or(version).split(['.', '-']);
    let mut next = || parts.next()?.parse::<u32>().ok();
    Some((next()?, next()?))
}

/// A Deployment of this image, with this label of a version.
#[cfg(test)]
pub(super) fn deployment(name: &str, image: &str, label: &str) -> Deployment {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "namespace": "system", "labels": {"app.kubernetes.io/version": label}},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
    }))
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_that_of_the_image_or_of_the_chart() {
        for (image, label, number) in [
            ("docker.io/istio/pilot:1.31.1", "1.0.0", Some((1, 31))),
            ("registry:5000/istio/pilot:1.30.0-distroless@sha256:00", "", Some((1, 30))),
            ("docker.io/istio/pilot:1.29-alpha.1", "", Some((1, 29))),
            ("docker.io/envoyproxy/gateway:v1.9.1", "", Some((1, 9))),
            ("registry:5000/istio/pilot@sha256:00", "1.31.1", Some((1, 31))),
            ("registry:5000/istio/pilot", "v1.30.2", Some((1, 30))),
            ("localhost/pilot:1", "1.0.0", Some((1, 0))),
            ("localhost/pilot:latest", "", None),
            ("localhost/pilot:dev", "unknown", None),
        ] {
            assert_eq!(release(&deployment("istiod", image, label)), number, "{image}");
        }
    }
}

"""The API server accepts every field of the objects in manifests/."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster.installation import PROVIDER, Kubectl

FOLDERS = sorted((Path(__file__).parents[2] / "manifests").glob(f"*-{PROVIDER}"))


# The fixture adds and removes CRDs of the whole cluster.
pytestmark = [pytest.mark.usefixtures("cert_manager", "prometheus_operator"), pytest.mark.alone]


@pytest.fixture(scope="module")
def listed(kubectl: Kubectl, cert_manager: None, prometheus_operator: None) -> Iterator[dict[Path, list[str]]]:
    """The namespace of each object of each folder; empty for cluster-wide objects. Creates the namespaces."""
    columns = "jsonpath={.metadata.namespace}{'\\n'}"
    create = lambda folder: kubectl("create", "--dry-run=client", "-k", str(folder), "-o", columns)
    listed = {folder: create(folder).split("\n")[:-1] for folder in FOLDERS}
    wanted = {name for objects in listed.values() for name in objects} - {""}
    existing = {name.removeprefix("namespace/") for name in kubectl("get", "namespaces", "-o", "name").split()}
    made = sorted(wanted - existing)
    for name in made:
        kubectl("create", "namespace", name)
    yield listed
    if made:
        kubectl("delete", "namespace", *made, "--wait=false")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_api_server_accepts_every_field(kubectl: Kubectl, listed: dict[Path, list[str]], folder: Path) -> None:
    tried = kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--field-manager=test", "-k", str(folder)
    )
    assert len(tried.splitlines()) == len(listed[folder]) >= 8


def test_every_example_for_a_cluster_is_tried() -> None:
    examples = {folder.name for folder in (Path(__file__).parents[2] / "examples").iterdir()} - {"standalone"}
    assert {folder.name.removesuffix(f"-{PROVIDER}") for folder in FOLDERS} == examples

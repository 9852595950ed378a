"""What `render` wrote into manifests/, tried by the API server: every field is one that its schemas know."""

from pathlib import Path

import pytest

from deployed import PROVIDER, Kubectl

FOLDERS = sorted((Path(__file__).parents[2] / "manifests").glob(f"*-{PROVIDER}"))


# The kinds that it brings and takes away are those of the whole cluster.
pytestmark = [pytest.mark.usefixtures("cert_manager"), pytest.mark.alone]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_api_server_takes_every_field(kubectl: Kubectl, folder: Path) -> None:
    lines = kubectl("create", "--dry-run=client", "-k", str(folder), "-o", "jsonpath={.metadata.namespace}{'\\n'}")
    objects = lines.split("\n")[:-1]
    namespaces = set(objects) - {""}
    there = set(kubectl("get", "namespaces", "-o", "name").split())
    made = [name for name in sorted(namespaces) if f"namespace/{name}" not in there]
    try:
        for name in made:
            kubectl("create", "namespace", name)
        tried = kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "--field-manager=test", "-k", str(folder)
        )
        assert len(tried.splitlines()) == len(objects) >= 8
    finally:
        for name in made:
            kubectl("delete", "namespace", name)


def test_every_example_with_a_cluster_is_tried() -> None:
    examples = {folder.name for folder in (Path(__file__).parents[2] / "examples").iterdir()} - {"standalone"}
    assert {folder.name.removesuffix(f"-{PROVIDER}") for folder in FOLDERS} == examples

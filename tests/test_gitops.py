"""GitOps: kustomize builds the example, which contains all that `render` writes, and the Secrets that it names."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.gate import otlp_gate

KUSTOMIZE = os.environ["KUSTOMIZE"]
ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/partners"
PAGE = ROOT / "docs/guides/gitops.md"


def build(folder: Path) -> list[str]:
    """The objects that kustomize makes of a folder, as it writes them."""
    built = subprocess.run([KUSTOMIZE, "build", folder], check=True, capture_output=True, text=True)
    assert not built.stderr, built.stderr
    return built.stdout.split("---\n")


def named(text: str) -> tuple[str, str]:
    """The kind and the name of an object."""
    kind = re.search(r"^kind: (\S+)$", text, re.MULTILINE)
    name = re.search(r"^metadata:\n(?:  .*\n)*?  name: (\S+)$", text, re.MULTILINE)
    return kind[1], name[1]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The example's folder, as a user has it after `certs init`."""
    shutil.copytree(EXAMPLE, tmp_path / "repository")
    otlp_gate("certs", "init", cwd=tmp_path / "repository")
    return tmp_path / "repository"


def test_the_example_contains_what_render_writes_and_the_secrets_that_it_names(repository: Path) -> None:
    options = ("render", "--client-ca", "certs")
    written = otlp_gate(*options, "--out", "gitops/deploy", cwd=repository)
    rendered = json.loads(otlp_gate(*options, "-o", "json", cwd=repository).stdout)["items"]
    wanted = {(it["kind"], it["metadata"]["name"]) for it in rendered}

    deploy, everything = build(repository / "gitops/deploy"), build(repository / "gitops")

    assert {named(text) for text in deploy} == wanted and len(deploy) == len(wanted)
    added = [text for text in everything if text not in deploy]
    assert len(everything) == len(deploy) + len(added), "kustomize changed an object of `render`"
    secrets = set(re.findall(r"kubectl create secret \w+ (\S+)", written.stderr))
    assert {named(text) for text in added} == {("ExternalSecret", name) for name in secrets} and len(secrets) == 3


@pytest.mark.parametrize("folder", sorted((ROOT / "manifests").iterdir()), ids=lambda folder: folder.name)
def test_kustomize_builds_all_manifests(folder: Path) -> None:
    assert len(build(folder)) == len(list(folder.iterdir())) - 1


def test_the_page_shows_the_files_of_the_example() -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    files = [file.read_text() for file in (EXAMPLE / "gitops").iterdir()]
    assert len(shown) == 3 and all(text in files for text in shown)

"""Config files of gates, as dictionaries that tests change and write."""

import copy
import json
from typing import Any

# Bursts are long and rates are the smallest possible (1/s), so that what a bucket earns back while a test runs is small
# against what a test sends in one request. Tests compute the rest from the time that has passed.
BURST = 120


class Config(dict):
    """An otlp-gate.yaml. The methods return changed copies; `str` gives the file's text (JSON is YAML)."""

    def __str__(self) -> str:
        return json.dumps(self, indent=1)

    def replace(self, **keys: Any) -> "Config":
        """With these top-level keys, such as `limits` or `deny`."""
        return Config({**copy.deepcopy(self), **keys})

    def client(self, name: str, **keys: Any) -> "Config":
        """With these keys in the rule of this name; a rule that is not there is added."""
        changed = copy.deepcopy(self)
        rules = changed.setdefault("clients", [])
        rule = next((rule for rule in rules if rule["name"] == name), None)
        if rule is None:
            rules.append(rule := {"name": name})
        rule.update(keys)
        return changed

    def quotas(self, **keys: Any) -> "Config":
        """With these keys in `quotas`, such as `mode` or `total`."""
        return self.replace(quotas={**copy.deepcopy(self.get("quotas", {})), **keys})

    def tier(self, name: str, **limits: str) -> "Config":
        """With a tier of these limits; one of the same name is replaced."""
        return self.quotas(tiers={**copy.deepcopy(self.get("quotas", {}).get("tiers", {})), name: limits})


def rule(name: str, match: dict[str, Any], tenant: str | None = None, **keys: Any) -> dict[str, Any]:
    """An entry of `clients`. `tenant` sets the attribute `tenant.id`."""
    attributes = {"attributes": {"tenant.id": tenant}} if tenant else {}
    return {"name": name, "match": match, **attributes, **keys}


def config(*clients: dict[str, Any], **keys: Any) -> Config:
    """A gate on this machine with these clients."""
    gateway = {"provider": "istio", "name": "otel-gateway", "namespace": "otel", "hostname": "localhost"}
    return Config(apiVersion="otlp-gate/v1", gateway=gateway, backend={"collector": {}}, clients=list(clients), **keys)


def any_client(domain: str, **keys: Any) -> Config:
    """A gate for clients with the identities `spiffe://DOMAIN/NAME`: each is the tenant NAME."""
    return config(rule("{word}", {"spiffe": f"spiffe://{domain}/{{word}}"}, tenant="{word}"), **keys)


# The config of the gate that most tests share. Its backend takes every signal.
SHARED = config(
    rule("acme-edge", {"spiffe": "spiffe://acme.example/edge/*"}, tenant="acme"),
    rule(
        "partner.{org}.{site}",
        {"dns": "{site}.{org}.partners.example"},
        attributes={"tenant.id": "{org}", "site.id": "{site}"},
    ),
    rule("legacy", {"subject": {"O": "Acme, Inc.", "CN": "legacy"}}, tenant="old"),
    rule("few-{word}", {"spiffe": "spiffe://few.example/{word}"}, tenant="few", quota="few"),
    rule("calls-{word}", {"spiffe": "spiffe://calls.example/{word}"}, tenant="calls", quota="calls"),
    attributes={"otlp_gate.client": "{name}"},
    headers={"X-Scope-OrgID": "{tenant.id}"},
    quotas={
        "tiers": {
            "few": {"spans": "1/s", "burst": f"{BURST}s"},
            "calls": {"requests": "1/s", "burst": f"{BURST}s"},
        }
    },
).replace(backend={"collector": {"profiles": True}})

"""The policies of the measured filters."""

POLICY = {
    "gate": "bench/bench",
    "clients": [
        {
            "name": "bench",
            "match": {"spiffe": "spiffe://bench.example/client"},
            "attributes": {"tenant.id": "bench"},
            "quota": "large",
        }
    ],
    "attributes": {"otlp_gate.client": "{name}"},
    "headers": {"X-Scope-OrgID": "{tenant.id}"},
    "quotas": {"tiers": {"large": {"requests": "1M/s", "bytes": "8GiB/s", "items": "50M/s"}}},
    # All load is from one client. With the default, the limit that reserves memory for other clients would reject part
    # of it, and rejected requests are cheap.
    "limits": {"held": "256MiB"},
}

# For many clients behind a trusted hop.
MANY = {
    **POLICY,
    "trustedHops": [{"spiffe": "spiffe://bench.example/client"}],
    "clients": [
        {
            "name": "{id}",
            "match": {"spiffe": "spiffe://many.example/{id}"},
            "attributes": {"tenant.id": "{id}"},
            "quota": "large",
        }
    ],
}


def shared(policy, quotas):
    """The policy with these quotas over all replicas."""
    return {**policy, "quotas": {**quotas, "engine": {}}}

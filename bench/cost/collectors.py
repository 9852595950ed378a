"""Configurations of Collectors."""


def receiver(port, json_port):
    """A Collector that receives and drops."""
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": f"127.0.0.1:{port}", "include_metadata": True, "max_recv_msg_size_mib": 16},
                    "http": {"endpoint": f"127.0.0.1:{json_port}", "include_metadata": True},
                }
            }
        },
        "exporters": {"nop": {}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}},
        },
    }


def hop(port, json_port, backend):
    """A Collector that sets the filter's attribute from a header and forwards, without queue and batches."""
    config = receiver(port, json_port)
    config["processors"] = {
        "resource": {"attributes": [{"key": "tenant.id", "from_context": "metadata.x-tenant", "action": "upsert"}]}
    }
    config["exporters"] = {
        "otlp_grpc": {
            "endpoint": f"127.0.0.1:{backend}",
            "tls": {"insecure": True},
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
    }
    config["service"]["pipelines"]["traces"] = {
        "receivers": ["otlp"],
        "processors": ["resource"],
        "exporters": ["otlp_grpc"],
    }
    return config

"""What the integration tests share: clients, backends, Envoys, configs and ways to wait."""

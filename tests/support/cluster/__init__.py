"""What the tests in tests/cluster share: gates that are deployed into a cluster, and load on them."""

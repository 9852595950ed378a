"""What the filter costs Envoy. Each part has `measure(rig)`, and `goals` and `tables` of what that returned."""

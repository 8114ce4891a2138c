"""The demo: the whole idea on one machine, with real processes and real data. Also the integration test's script."""

"""The demo: all steps on one machine, with real processes and real data. An integration test runs the same script."""

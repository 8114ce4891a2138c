"""Pure decisions of the device: takes facts, returns commands. No clock, no files, no network, no threads.

Read `model.py` first (the data), then `machine.py` (the transitions).
"""

"""Pure decisions of the device: facts in, commands out. No clock, no files, no network, no threads.

Read `model.py` first (the data), then `machine.py` (the transitions).
"""

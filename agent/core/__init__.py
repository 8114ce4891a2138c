"""Pure decisions of the device: facts in, orders out. No clock, no files, no network, no threads.

Read `model.py` (what there is), then `machine.py` (what happens).
"""

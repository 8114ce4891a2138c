"""The simulator: the real agent and the real reconcile in virtual time, on simulated flash, power and links.

Read `world.py` first (a fleet), then `device.py` (one device) and `checkers/` (the laws that every history must
obey).
"""

import logging

logging.getLogger("edgeward").setLevel(logging.CRITICAL)  # a simulated device's log is its history

"""The top layer: the real agent and the real reconcile in virtual time, on simulated flash, power and links.

Read `world.py` (a fleet), `device.py` (one device), `checkers/` (the laws).
"""

import logging

logging.getLogger("edgeward").setLevel(logging.CRITICAL)  # a simulated device's log is its history

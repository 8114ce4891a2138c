"""The simulator: the real agent and the real reconcile in virtual time, on simulated flash, power and links.

Start to read at `world.py` (a fleet), `device.py` (one device) or `checkers/` (the laws that histories must keep).
"""

import logging

logging.getLogger("edgeward").setLevel(logging.CRITICAL)  # a simulated device's log is its history

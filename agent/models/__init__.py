"""One model on this device: its state, the steps of its machine, and the time at which a version may be tried."""

"""One model on this device: its state, the steps of its machine, and when a trial may begin."""

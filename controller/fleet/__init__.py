"""Pure knowledge of the fleet: a twin per device, folded from messages; selection; views."""

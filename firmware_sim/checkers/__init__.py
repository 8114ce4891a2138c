"""Laws. Checkers read histories, traces and disks, never the world's plans; each violation names its law."""

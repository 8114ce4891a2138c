"""The laws. Checkers read histories, traces and disks, never the plans of the world. A violation names its law."""

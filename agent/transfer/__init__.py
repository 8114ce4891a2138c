"""The transfer of blobs to the device: downloads, chunks in flight, carriers, and unpacking."""

"""How bytes come to the device: downloads, chunks in flight, carriers, and unpacking."""

"""HTTP on the device: the inference server, its connections, and the server of blobs for neighbours."""

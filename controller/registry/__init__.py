"""The controller's memory: tables that people write, blobs by digest, and the journal of what devices say."""

"""The signatures that decide what a device runs: TUF metadata and a director in addition (Uptane's two authorities).

`documents` defines the signed documents, `repository` signs them, `chain` verifies them on a device. Bytes in, values
out.
"""

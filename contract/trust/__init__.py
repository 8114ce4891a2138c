"""Who may say what a device runs: TUF metadata and a director beside it (Uptane's two authorities, one root).

`documents` are what is signed, `repository` signs them, `chain` follows them on a device. Bytes in, values out.
"""

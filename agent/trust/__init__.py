"""Signed documents, and the identity of this device: documents, pending versions, credentials, enrolment."""

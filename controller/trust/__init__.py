"""Trust: metadata, keys, certificates, enrolment, senders, and roles of people."""

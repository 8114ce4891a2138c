"""Trust: metadata, keys, certificates, enrolment, senders, and the roles of people."""

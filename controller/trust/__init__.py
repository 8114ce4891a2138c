"""Who may do what: metadata, keys, certificates, enrolment, senders, and roles of people."""

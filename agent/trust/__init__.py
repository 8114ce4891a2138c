"""What arrives signed, and who this device is: documents, pending versions, credentials, enrolment."""

"""Everything that people can ask for, one file per subject. A verb takes the State and audits what it changes.

Refuses to know HTTP.
"""

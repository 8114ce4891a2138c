"""All actions that people can request, one file per subject. A verb takes the State and audits what it changes.

Refuses to know HTTP.
"""

"""The controller's durable data: tables that people write, rows of the fleet, blobs by digest, and the journal of
reports.
"""

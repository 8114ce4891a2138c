"""What people can ask for, one file a subject. Every verb takes the State and audits itself; none knows HTTP."""

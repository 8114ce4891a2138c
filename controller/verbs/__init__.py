"""What people can ask the controller for, one file a subject. Each verb takes the state, and audits itself."""

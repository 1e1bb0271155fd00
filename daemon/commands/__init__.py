"""The commands of the command line, one module a subject. They print and exit; what they know they ask of the rooms below."""

"""The program: configuration, credentials, messages and the command line."""

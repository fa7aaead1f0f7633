"""Shared parts of the end-to-end tests: the daemon, fake servers, plain clients, real programs."""

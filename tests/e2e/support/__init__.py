"""What the end-to-end tests share: the daemon, fake servers, plain clients, real programs."""

"""What follows a gradient: an optimiser of torch.optim that steps by dense gradients, and a leaner Adam of our own."""

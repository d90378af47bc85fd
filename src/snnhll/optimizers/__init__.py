"""What follows a gradient: any optimiser of torch.optim, and a leaner Adam of our own."""

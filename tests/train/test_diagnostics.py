"""What is said of gradients, where signal and noise are known."""

"""What runs in a worker process, each file by its path.

They import nothing of rlft, so that a worker starts without torch.
"""

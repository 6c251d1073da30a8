"""The shipped recipes and the groups they choose from; YAML files, found by Hydra as `pkg://rlft.recipes`."""

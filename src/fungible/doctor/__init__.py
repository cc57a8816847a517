"""Holds a configuration against a deployment: which homes could not serve the instances that are declared."""

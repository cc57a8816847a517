"""Instances of the application: started by us, or running already."""

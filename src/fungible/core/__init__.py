"""What every other folder may rely on; imports nothing of ours."""

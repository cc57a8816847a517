"""The prover: runs an application as several instances and names what would be lost."""

"""What Fungible costs, measured: `python -m benchmarks`."""

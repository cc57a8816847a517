"""The smallest sequence that shows a break, and what kind of state is behind it."""

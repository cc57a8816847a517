"""The key's row in the application's own database: statements, connections, and what is done with both."""

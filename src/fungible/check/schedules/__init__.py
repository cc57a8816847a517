"""The schedules: what is tried with a flow, and what each of them finds."""

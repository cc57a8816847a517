"""From a break to a finding: witness, kind, evidence, words."""

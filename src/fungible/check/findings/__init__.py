"""What was found, in words: the finding, the way out, the five questions."""

"""`compress`: smaller responses, where that reveals no secret."""

"""What several tests lean on: real servers and the like."""

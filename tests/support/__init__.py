"""What several tests share: a worker in the test's own loop, and model servers that do as they are told."""

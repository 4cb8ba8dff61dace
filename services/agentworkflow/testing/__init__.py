"""agentworkflow.testing."""

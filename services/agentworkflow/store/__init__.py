"""agentworkflow.store."""

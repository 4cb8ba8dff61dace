"""agentworkflow.engine."""

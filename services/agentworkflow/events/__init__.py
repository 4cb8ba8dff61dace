"""agentworkflow.events."""

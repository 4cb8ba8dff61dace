"""agentworkflow.workflow."""

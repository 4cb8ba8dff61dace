"""agentworkflow.runs."""

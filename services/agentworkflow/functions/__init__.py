"""agentworkflow.functions."""

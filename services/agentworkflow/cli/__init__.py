"""agentworkflow.cli."""

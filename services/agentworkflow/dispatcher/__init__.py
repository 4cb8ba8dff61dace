"""agentworkflow.dispatcher."""

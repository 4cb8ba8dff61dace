"""agentworkflow: AI-agent workflows that cost nothing while idle."""

"""The AgentWorkflow resource: its models, its validation, its expressions. Pure: no I/O."""

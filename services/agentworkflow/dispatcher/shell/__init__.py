"""The shell around the fold: I/O for what `agentworkflow.runs` decides.

service   what can be asked of runs (the API and the event port call it)
starts    creates runs
folding   takes all that waits for one run, folds it, commits it once
sweep     leases what is due; `acts` says what is done for each kind
calls     posts attempts to functions
"""

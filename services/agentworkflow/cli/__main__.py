"""`python -m agentworkflow.cli`: the same command, where no script is installed."""

import sys

from agentworkflow.cli import main

sys.exit(main())

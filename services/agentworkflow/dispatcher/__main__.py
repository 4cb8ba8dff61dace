"""`python -m agentworkflow.dispatcher`: one dispatcher as a process."""

import asyncio
import os
import sys

from agentworkflow.dispatcher.app import Process
from agentworkflow.dispatcher.flags import SettingsError, parse_settings
from agentworkflow.dispatcher.keys import UnsafeAddressError

_USAGE = 2


def main() -> int:
    """Serve until told to stop; 2 for settings that cannot be used."""
    try:
        settings, level = parse_settings(sys.argv[1:], os.environ)
        process = Process(settings, level)
    except (SettingsError, UnsafeAddressError, OSError) as error:
        sys.stderr.write(f"Error: {error.strerror if isinstance(error, OSError) else error}\n")
        return _USAGE
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        asyncio.run(process.run())
    else:
        uvloop.run(process.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The embedded engine: broker, activator, schedules and supervision in one local process."""

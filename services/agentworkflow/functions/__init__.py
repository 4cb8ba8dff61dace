"""The function host: what a handler's author imports, and the processes that run handlers.

Three kinds of process, each with a module to start reading at:

- the front (`front.py`, `app.py`): answers HTTP and probes; imports no user code;
- the zygote (`zygote.py`): imports the handlers once and forks;
- children (`child.py` for one event, `worker.py` for many): run handlers.
"""

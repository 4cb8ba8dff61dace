"""The fold: two pure functions that hold all the logic of a run.

`evolve` says what happened, `decide` what to do next, `wanted` what has to be loaded to decide.
Nothing here knows I/O, a clock or randomness.
"""

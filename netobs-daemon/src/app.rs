//! Wires the stages: build, run, drain.

//! Whole-system tests: they run the real programs.

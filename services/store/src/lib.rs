//! The two engines.

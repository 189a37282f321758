//! Between the contract's types and ours.

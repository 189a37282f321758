//! People and whom a face belongs to. So far: the index that a probe is matched against.

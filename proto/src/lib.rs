//! The contract: what scripts, terminals and hubs say to each other over gRPC, as Rust types.
//!
//! The types are generated from `rollcall/v1/*.proto`. They are committed, so that a build needs no protoc; the test
//! `generated` makes them anew and compares, and `released` refuses a change that would break a client.
//!
//! To change the contract: edit the .proto files, then `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto`.

mod access;
mod status;

/// `rollcall.v1`, as generated.
#[allow(missing_docs, clippy::all, reason = "generated; the .proto files have the words")]
pub mod v1 {
    include!("generated/rollcall.v1.rs");
}

pub use access::{Access, access, rules};
pub use status::{DOMAIN, reason, status};

/// Every file of the contract with its comments, as a serialised `google.protobuf.FileDescriptorSet`: for server
/// reflection and for making clients.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");

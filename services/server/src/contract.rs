//! What can be called, by whom, how, and how large its messages may be: from the contract's descriptor.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use rollcall_core::limits;
use rollcall_proto::Access;

use crate::ServerError;

pub(crate) const HEALTH: &str = "grpc.health.v1.Health";
pub(crate) const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// The calls that a server takes.
pub(crate) struct Contract {
    rpcs: HashMap<String, Rpc>,
}

/// One of them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) path: Arc<str>,
    pub(crate) shape: Shape,
    pub(crate) rule: Rule,
    /// Of one message.
    pub(crate) request_size_bytes: usize,
}

/// Which side sends many messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Neither.
    Unary,
    /// The client, and the server one in the end.
    Upload,
    /// The server, after one of the client.
    Stream,
    /// Both.
    Both,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Whoever reaches the server.
    Anyone,
    /// Whoever reaches the server, so many times a second from one address.
    Stranger,
    /// Whoever is known.
    AnyCaller,
    /// Who the contract says.
    Listed(&'static Access),
}

impl Contract {
    /// The calls of these services.
    pub(crate) fn of(services: &[&'static str]) -> Result<Self, ServerError> {
        let set = FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET);
        let set = set.map_err(|error| ServerError::Descriptor(error.to_string()))?;
        let mut rpcs = HashMap::new();
        for service in services {
            for rpc in rpcs_of(&set, service)? {
                rpcs.insert(rpc.path.to_string(), rpc);
            }
        }
        Ok(Self { rpcs })
    }

    pub(crate) fn rpc(&self, path: &str) -> Option<&Rpc> {
        self.rpcs.get(path)
    }
}

fn rpcs_of(set: &FileDescriptorSet, service: &'static str) -> Result<Vec<Rpc>, ServerError> {
    let foreign = |name: &str, shape, rule| Rpc {
        path: format!("/{service}/{name}").into(),
        shape,
        rule,
        request_size_bytes: limits::REQUEST_SIZE_BYTES,
    };
    match service {
        HEALTH => {
            return Ok(vec![
                foreign("Check", Shape::Unary, Rule::Anyone),
                foreign("Watch", Shape::Stream, Rule::Anyone),
            ]);
        }
        REFLECTION => return Ok(vec![foreign("ServerReflectionInfo", Shape::Both, Rule::AnyCaller)]),
        _ => {}
    }
    let files = set.file.iter();
    let methods = files.flat_map(|file| file.service.iter().map(move |found| (file.package(), found)));
    let mut found = methods
        .filter(|(package, found)| service.strip_prefix(package) == Some(&format!(".{}", found.name())));
    let (_, descriptor) = found.next().ok_or(ServerError::UnknownService { service })?;
    descriptor.method.iter().map(|method| listed(service, method)).collect()
}

fn listed(service: &str, method: &MethodDescriptorProto) -> Result<Rpc, ServerError> {
    let path = format!("/{service}/{}", method.name());
    let access = rollcall_proto::access(&path).ok_or_else(|| ServerError::NoRule { rpc: path.clone() })?;
    let rule = if access.anyone { Rule::Stranger } else { Rule::Listed(access) };
    let shape = match (method.client_streaming(), method.server_streaming()) {
        (false, false) => Shape::Unary,
        (true, false) => Shape::Upload,
        (false, true) => Shape::Stream,
        (true, true) => Shape::Both,
    };
    let request_size_bytes = request_size_bytes(&path);
    Ok(Rpc { path: path.into(), shape, rule, request_size_bytes })
}

/// The largest message that a call takes.
fn request_size_bytes(path: &str) -> usize {
    match path {
        "/rollcall.v1.GalleryService/EnrolPicture"
        | "/rollcall.v1.GalleryService/Identify"
        | "/rollcall.v1.GalleryService/Verify" => {
            limits::REQUEST_PICTURE_SIZE_BYTES + limits::REQUEST_SIZE_BYTES
        }
        "/rollcall.v1.GalleryService/ImportPeople"
        | "/rollcall.v1.SyncService/Push"
        | "/rollcall.v1.SyncService/OfferGallery"
        | "/rollcall.v1.SyncService/ExchangeLedger" => limits::REQUEST_CHUNK_SIZE_BYTES,
        _ => limits::REQUEST_SIZE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn services() -> Vec<&'static str> {
        let mut names: Vec<&str> =
            rollcall_proto::rules().map(|(path, _)| path[1..].split('/').next().unwrap()).collect();
        names.dedup();
        names
    }

    #[test]
    fn every_call_of_the_contract_has_a_rule() {
        let contract = Contract::of(&services()).unwrap();
        assert_eq!(contract.rpcs.len(), rollcall_proto::rules().count());
        assert!(contract.rpcs.len() > 50);
    }

    #[test]
    fn every_service_of_the_descriptor_is_among_the_rules() {
        let set = FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "rollcall.v1");
        let mut all: Vec<String> =
            ours.flat_map(|file| &file.service).map(|s| format!("rollcall.v1.{}", s.name())).collect();
        all.sort();
        assert_eq!(all, services());
    }

    #[test]
    fn a_call_without_a_rule_and_a_service_without_a_contract_keep_the_server_from_starting() {
        let method = MethodDescriptorProto { name: Some("Backdoor".into()), ..Default::default() };
        let error = listed("rollcall.v1.GalleryService", &method).err().unwrap();
        assert!(matches!(&error, ServerError::NoRule { rpc } if rpc.ends_with("/Backdoor")), "{error}");
        let error = Contract::of(&["rollcall.v1.Nothing"]).err().unwrap();
        assert!(matches!(error, ServerError::UnknownService { service: "rollcall.v1.Nothing" }));
    }

    #[test]
    fn every_path_with_a_limit_of_its_own_is_one_of_the_contract() {
        let larger: Vec<&str> = rollcall_proto::rules()
            .map(|(path, _)| path)
            .filter(|path| request_size_bytes(path) > limits::REQUEST_SIZE_BYTES)
            .collect();
        assert_eq!(larger.len(), 7);
    }
}

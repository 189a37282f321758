//! The committed Rust is what the .proto files say, and every RPC has a rule.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn compiled() -> protox::Compiler {
    let mut compiler = protox::Compiler::new([folder()]).unwrap();
    compiler.include_source_info(true).include_imports(true);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder().join("rollcall/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    files.sort();
    for file in files {
        compiler.open_file(file).unwrap_or_else(|error| panic!("{error:?}"));
    }
    compiler
}

fn pool() -> DescriptorPool {
    compiled().descriptor_pool()
}

fn rpcs(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = pool.services().filter(|service| service.package_name() == "rollcall.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Compares with the committed file, or writes it when asked to.
fn committed(name: &str, made: &[u8]) {
    let path = folder().join("src/generated").join(name);
    if std::env::var_os("ROLLCALL_REGENERATE").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let there = std::fs::read(&path).unwrap_or_default();
    assert!(
        there == made,
        "proto/src/generated/{name} is not what the .proto files say; run ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto"
    );
}

#[test]
fn the_committed_types_are_generated_from_the_contract() {
    let out = tempfile::tempdir().unwrap();
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_transport(false)
        .compile_fds_with_config(compiled().file_descriptor_set(), config)
        .unwrap();
    committed("rollcall.v1.rs", &std::fs::read(out.path().join("rollcall.v1.rs")).unwrap());
}

#[test]
fn the_committed_descriptor_is_that_of_the_contract() {
    committed("descriptor.bin", &compiled().encode_file_descriptor_set());
    prost_types::FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
}

#[test]
fn every_rpc_has_a_rule_and_the_committed_rules_are_those() {
    let pool = pool();
    let access = pool.get_extension_by_name("rollcall.v1.access").unwrap();
    let mut rules: Vec<(String, String)> = rpcs(&pool)
        .iter()
        .map(|rpc| {
            let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
            let options = rpc.options();
            assert!(options.has_extension(&access), "{path} has no access rule");
            let rule = options.get_extension(&access);
            let rule = rule.as_message().unwrap();
            let roles: Vec<String> = rule
                .get_field_by_name("roles")
                .unwrap()
                .as_list()
                .unwrap()
                .iter()
                .map(|value| role(&pool, value))
                .collect();
            let anyone = rule.get_field_by_name("anyone").unwrap().as_bool().unwrap();
            assert_eq!(roles.is_empty(), anyone, "{path} is either for listed roles or for anyone");
            let scope = rule.get_field_by_name("scope").unwrap().as_str().unwrap().to_owned();
            let scope = if scope.is_empty() { "None".to_owned() } else { format!("Some(\"{scope}\")") };
            (path, format!("Access {{ roles: &[{}], scope: {scope}, anyone: {anyone} }}", roles.join(", ")))
        })
        .collect();
    rules.sort();
    let mut text = String::from("// Generated from the access options of the .proto files; do not edit.\n\n");
    text.push_str("/// Every call's path and rule, by path.\n#[rustfmt::skip]\npub(crate) const ACCESS: &[(&str, Access)] = &[\n");
    for (path, rule) in rules {
        writeln!(text, "    (\"{path}\", {rule}),").unwrap();
    }
    text.push_str("];\n");
    committed("access.rs", text.as_bytes());
}

fn role(pool: &DescriptorPool, value: &Value) -> String {
    let number = value.as_enum_number().unwrap();
    let name =
        pool.get_enum_by_name("rollcall.v1.Role").unwrap().get_value(number).unwrap().name().to_owned();
    let name = name.strip_prefix("ROLE_").unwrap();
    assert_ne!(name, "UNSPECIFIED");
    format!("Role::{}{}", &name[..1], name[1..].to_lowercase())
}

#[test]
fn every_rpc_message_field_and_enum_value_that_needs_words_has_them() {
    let pool = pool();
    for rpc in rpcs(&pool) {
        assert!(comment(&rpc.parent_file(), rpc.path()).len() > 10, "{} has no comment", rpc.full_name());
    }
}

fn comment(file: &prost_reflect::FileDescriptor, path: &[i32]) -> String {
    let proto = file.file_descriptor_proto();
    let locations = proto.source_code_info.as_ref().map(|info| info.location.as_slice()).unwrap_or_default();
    locations
        .iter()
        .find(|location| location.path == path)
        .and_then(|location| location.leading_comments.clone())
        .unwrap_or_default()
}

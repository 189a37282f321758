//! What was released is not broken: a client made from any released contract works with this one.
//!
//! `proto/released/VERSION.bin` is the contract of a release, as a `FileDescriptorSet` without comments. Whoever makes a
//! release writes it with `ROLLCALL_RELEASE=0.2.0 cargo test -p rollcall-proto --test released` and commits it; a file
//! that is there is never written again. The comparison is with the newest of them, which was compared with the one
//! before it.
//!
//! Breaking is: a message, field, enum, enum value, service or call that is gone or has another name; a field of another
//! type, label, presence or oneof; a call with other messages or streams; a call that takes fewer roles, or a scope that
//! it did not take. A rule that lets more people in breaks nobody; whether it should is for review, not for this test.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

const PACKAGE: &str = "rollcall.v1";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn now() -> DescriptorPool {
    DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap()
}

/// The released contracts, oldest first.
fn releases() -> Vec<([u32; 3], PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder().join("released")) else { return Vec::new() };
    let mut releases: Vec<([u32; 3], PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (version(path.file_stem().unwrap().to_str().unwrap()), path))
        .collect();
    releases.sort();
    releases
}

fn version(text: &str) -> [u32; 3] {
    let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).unwrap_or_else(|| panic!("{text} is no version"))
}

#[test]
fn the_contract_breaks_no_client_of_the_last_release() {
    match releases().last() {
        Some((_, path)) => {
            let released = DescriptorPool::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
            let broken = broken(&released, &now());
            assert!(broken.is_empty(), "since {}:\n{}", path.display(), broken.join("\n"));
        }
        None => println!("nothing is released yet"),
    }
    if let Some(release) = std::env::var_os("ROLLCALL_RELEASE") {
        write(release.to_str().expect("a version"));
    }
}

fn write(release: &str) {
    let newest = releases().last().map(|(version, _)| *version);
    assert!(newest.is_none_or(|newest| newest < version(release)), "{release} is not newer than {newest:?}");
    std::fs::create_dir_all(folder().join("released")).unwrap();
    let path = folder().join("released").join(format!("{release}.bin"));
    std::fs::write(path, without_comments(&now())).unwrap();
}

/// The pool as bytes without comments, which are most of it.
fn without_comments(pool: &DescriptorPool) -> Vec<u8> {
    const FILE: u32 = 1;
    const SOURCE_CODE_INFO: u32 = 9;
    let mut bytes = Vec::new();
    for file in pool.files() {
        let mut kept = Vec::new();
        let mut rest = file.encode_to_vec();
        while !rest.is_empty() {
            let mut buffer = rest.as_slice();
            let (number, kind) = prost::encoding::decode_key(&mut buffer).unwrap();
            prost::encoding::skip_field(kind, number, &mut buffer, Default::default()).unwrap();
            let size = rest.len() - buffer.len();
            let field: Vec<u8> = rest.drain(..size).collect();
            if number != SOURCE_CODE_INFO {
                kept.extend(field);
            }
        }
        prost::encoding::bytes::encode(FILE, &kept, &mut bytes);
    }
    bytes
}

/// What a client of `released` would stumble over, a line each.
fn broken(released: &DescriptorPool, now: &DescriptorPool) -> Vec<String> {
    let mut broken = Vec::new();
    for before in released.all_messages().filter(|message| message.package_name() == PACKAGE) {
        match now.get_message_by_name(before.full_name()) {
            Some(after) => broken_message(&before, &after, &mut broken),
            None => broken.push(format!("message {} is gone", before.full_name())),
        }
    }
    for before in released.all_enums().filter(|found| found.package_name() == PACKAGE) {
        match now.get_enum_by_name(before.full_name()) {
            Some(after) => broken_enum(&before, &after, &mut broken),
            None => broken.push(format!("enum {} is gone", before.full_name())),
        }
    }
    for before in released.services().filter(|service| service.package_name() == PACKAGE) {
        match now.get_service_by_name(before.full_name()) {
            Some(after) => broken_service((released, &before), (now, &after), &mut broken),
            None => broken.push(format!("service {} is gone", before.full_name())),
        }
    }
    broken
}

fn broken_message(before: &MessageDescriptor, after: &MessageDescriptor, broken: &mut Vec<String>) {
    for field in before.fields() {
        match after.get_field(field.number()) {
            None => broken.push(format!("field {} = {} is gone", field.full_name(), field.number())),
            Some(now) if shape(&field) != shape(&now) => {
                broken.push(format!(
                    "field {} was {} and is {}",
                    field.full_name(),
                    shape(&field),
                    shape(&now)
                ));
            }
            Some(_) => {}
        }
    }
}

/// All of a field that a client knows but its comments.
fn shape(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    };
    let label = match field.cardinality() {
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.supports_presence() => "optional ",
        Cardinality::Optional => "",
    };
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let oneof = oneof.map(|oneof| format!(" in oneof {}", oneof.name())).unwrap_or_default();
    format!("\"{label}{kind} {} = {}{oneof}\"", field.name(), field.number())
}

fn broken_enum(before: &EnumDescriptor, after: &EnumDescriptor, broken: &mut Vec<String>) {
    for value in before.values() {
        let there = after.values().any(|now| (now.number(), now.name()) == (value.number(), value.name()));
        if !there {
            broken.push(format!("value {} = {} is gone", value.full_name(), value.number()));
        }
    }
}

fn broken_service(
    (released, before): (&DescriptorPool, &ServiceDescriptor),
    (now, after): (&DescriptorPool, &ServiceDescriptor),
    broken: &mut Vec<String>,
) {
    for call in before.methods() {
        let Some(current) = after.methods().find(|found| found.name() == call.name()) else {
            broken.push(format!("call {} is gone", call.full_name()));
            continue;
        };
        if signature(&call) != signature(&current) {
            let name = call.full_name();
            broken.push(format!("call {name} was {} and is {}", signature(&call), signature(&current)));
        }
        let ((roles, scope), (roles_now, scope_now)) = (access(released, &call), access(now, &current));
        if !roles.is_subset(&roles_now) {
            broken.push(format!("call {} takes fewer roles", call.full_name()));
        }
        if !scope_now.is_empty() && scope_now != scope {
            broken.push(format!("call {} takes the scope {scope_now}", call.full_name()));
        }
    }
}

fn signature(call: &MethodDescriptor) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    let (input, output) = (call.input(), call.output());
    let (sends, gives) = (stream(call.is_client_streaming()), stream(call.is_server_streaming()));
    format!("\"({sends}{}) returns ({gives}{})\"", input.full_name(), output.full_name())
}

/// The roles and the scope of a call's rule.
fn access(pool: &DescriptorPool, call: &MethodDescriptor) -> (BTreeSet<i32>, String) {
    let extension = pool.get_extension_by_name("rollcall.v1.access").unwrap();
    let options = call.options();
    let rule = options.get_extension(&extension);
    let rule = rule.as_message().unwrap();
    let roles = rule.get_field_by_name("roles").unwrap();
    let roles = roles.as_list().unwrap().iter().map(|role| role.as_enum_number().unwrap()).collect();
    (roles, rule.get_field_by_name("scope").unwrap().as_str().unwrap().to_owned())
}

const SYNTHETIC: &str = r#"
syntax = "proto3";
package rollcall.v1;
import "rollcall/v1/common.proto";
service Doors {
  rpc Open(Door) returns (Opened) { option (access) = {roles: [ROLE_ADMIN, ROLE_OFFICE], scope: "doors.open"}; }
  rpc Watch(Door) returns (stream Opened) { option (access) = {roles: [ROLE_ADMIN]}; }
}
message Door {
  string name = 1;
  int32 width = 2;
  repeated string keys = 3;
  optional int32 height = 4;
  oneof lock { string pin = 5; Bolt bolt = 6; }
  message Inner { bool flag = 1; }
}
message Opened { Kind kind = 1; }
message Bolt {}
enum Kind { KIND_UNSPECIFIED = 0; KIND_WIDE = 1; KIND_AJAR = 2; }
"#;

fn synthetic(replacements: &[(&str, &str)]) -> DescriptorPool {
    let out = tempfile::tempdir().unwrap();
    let mut text = SYNTHETIC.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(out.path().join("doors.proto"), text).unwrap();
    let mut compiler = protox::Compiler::new([out.path(), &folder()]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("doors.proto").unwrap_or_else(|error| panic!("{replacements:?}: {error}"));
    // Through bytes, as a release is.
    DescriptorPool::decode(without_comments(&compiler.descriptor_pool()).as_slice()).unwrap()
}

#[test]
fn what_only_adds_or_lets_more_people_in_breaks_nobody() {
    let additions = [
        ("string name = 1;", "string name = 1; string colour = 9;"),
        ("KIND_AJAR = 2;", "KIND_AJAR = 2; KIND_SHUT = 3;"),
        ("Bolt bolt = 6;", "Bolt bolt = 6; string card = 8;"),
        ("message Bolt {}", "message Bolt { bool drawn = 1; } message More {}"),
        ("service Doors {", "service Windows {} service Doors { rpc Shut(Door) returns (Opened);"),
        (", ROLE_OFFICE]", ", ROLE_OFFICE, ROLE_VIEWER]"),
        (", scope: \"doors.open\"", ""),
    ];
    let before = synthetic(&[]);
    assert_eq!(broken(&before, &before), [""; 0]);
    for addition in additions {
        assert_eq!(broken(&before, &synthetic(&[addition])), [""; 0], "{addition:?}");
    }
    assert_eq!(broken(&before, &synthetic(&additions)), [""; 0]);
}

#[test]
fn each_change_that_breaks_a_client_is_refused_by_name() {
    let changes: &[(&[(&str, &str)], &str)] = &[
        (&[("int32 width = 2;", "")], "field rollcall.v1.Door.width = 2 is gone"),
        (&[("int32 width = 2;", "reserved 2; reserved \"width\";")], "Door.width = 2 is gone"),
        (&[("int32 width = 2;", "int32 width = 7;")], "Door.width = 2 is gone"),
        (&[("int32 width = 2;", "int32 breadth = 2;")], "and is \"int32 breadth = 2\""),
        (&[("int32 width = 2;", "int64 width = 2;")], "and is \"int64 width = 2\""),
        (&[("int32 width = 2;", "uint32 width = 2;")], "and is \"uint32 width = 2\""),
        (&[("int32 width = 2;", "optional int32 width = 2;")], "and is \"optional int32 width = 2\""),
        (&[("int32 width = 2;", "repeated int32 width = 2;")], "and is \"repeated int32 width = 2\""),
        (&[("repeated string keys", "string keys")], "and is \"string keys = 3\""),
        (&[("optional int32 height", "int32 height")], "and is \"int32 height = 4\""),
        (&[("oneof lock {", "oneof latch {")], "in oneof latch"),
        (&[("oneof lock { string pin = 5;", "string pin = 5; oneof lock {")], "Door.pin was"),
        (&[("int32 width = 2;", ""), ("oneof lock {", "oneof lock { int32 width = 2;")], "Door.width was"),
        (&[("Bolt bolt = 6;", "Inner bolt = 6;")], "and is \"optional rollcall.v1.Door.Inner bolt"),
        (&[("Kind kind = 1;", "int32 kind = 1;")], "and is \"int32 kind = 1\""),
        (&[("message Inner { bool flag = 1; }", "")], "message rollcall.v1.Door.Inner is gone"),
        (&[("KIND_AJAR = 2;", "")], "KIND_AJAR = 2 is gone"),
        (&[("KIND_AJAR = 2;", "KIND_AJAR = 3;")], "KIND_AJAR = 2 is gone"),
        (&[("KIND_AJAR = 2;", "KIND_TILTED = 2;")], "KIND_AJAR = 2 is gone"),
        (&[("enum Kind", "enum Sort"), ("Kind kind", "Sort kind")], "enum rollcall.v1.Kind is gone"),
        (&[("service Doors", "service Gates")], "service rollcall.v1.Doors is gone"),
        (&[("rpc Open", "rpc Unlock")], "call rollcall.v1.Doors.Open is gone"),
        (&[("rpc Open(Door)", "rpc Open(Bolt)")], "call rollcall.v1.Doors.Open was"),
        (&[("rpc Open(Door)", "rpc Open(stream Door)")], "call rollcall.v1.Doors.Open was"),
        (&[("returns (stream Opened)", "returns (Opened)")], "call rollcall.v1.Doors.Watch was"),
        (&[("returns (Opened)", "returns (Bolt)")], "call rollcall.v1.Doors.Open was"),
        (&[("[ROLE_ADMIN, ROLE_OFFICE]", "[ROLE_ADMIN]")], "Doors.Open takes fewer roles"),
        (&[("\"doors.open\"", "\"doors.unlock\"")], "Doors.Open takes the scope doors.unlock"),
        (&[("roles: [ROLE_ADMIN]}", "roles: [ROLE_ADMIN], scope: \"x\"}")], "Doors.Watch takes the scope x"),
    ];
    let before = synthetic(&[]);
    for (change, expected) in changes {
        let found = broken(&before, &synthetic(change));
        assert!(found.iter().any(|line| line.contains(expected)), "{change:?}: {found:?}");
    }
}

#[test]
fn this_contract_without_any_one_field_is_refused() {
    let now = now();
    let mut files: Vec<prost_types::FileDescriptorProto> = now.file_descriptor_protos().cloned().collect();
    let file = files.iter().position(|file| file.name() == "rollcall/v1/accounts.proto").unwrap();
    for message in 0..files[file].message_type.len() {
        for field in 0..files[file].message_type[message].field.len() {
            let removed = files[file].message_type[message].field.remove(field);
            let set = prost_types::FileDescriptorSet { file: files.clone() };
            let found = broken(&now, &DescriptorPool::from_file_descriptor_set(set).unwrap());
            let name = format!("rollcall.v1.{}.{}", files[file].message_type[message].name(), removed.name());
            let expected = format!("field {name} = {} is gone", removed.number());
            assert!(found.contains(&expected), "{expected}: {found:?}");
            files[file].message_type[message].field.insert(field, removed);
        }
    }
}

#[test]
fn a_release_that_was_written_reads_back_as_this_contract() {
    let now = now();
    let bytes = without_comments(&now);
    assert!(bytes.len() < rollcall_proto::FILE_DESCRIPTOR_SET.len());
    let read = DescriptorPool::decode(bytes.as_slice()).unwrap();
    assert_eq!(broken(&read, &now), [""; 0]);
    assert_eq!(broken(&now, &read), [""; 0]);
    let call = read.get_service_by_name("rollcall.v1.AccountService").unwrap().methods().next().unwrap();
    assert_eq!(access(&read, &call), (BTreeSet::from([1]), "accounts.manage".to_owned()));
}

#[test]
fn releases_are_ordered_as_versions_not_as_words() {
    assert!(version("0.10.0") > version("0.9.3"));
    assert!(version("1.0.0") > version("0.10.0"));
}

//! A1 and A3 on Windows: security descriptors as they are set, what a client asks for, and acting as a client.
#![allow(unsafe_code, reason = "raw security attributes are unsafe to give")]

use std::{
    io::{Read, Write},
    os::windows::io::AsHandle,
    time::Duration,
};

use pipework::{
    Access, ClientOptions, NamedPipe, NamedPipeBuilder, PipeErrorKind, PipeMode,
    os::windows::{AccessExt, ClientOptionsExt, NamedPipeBuilderExt, PipeStreamExt},
};
use windows_sys::Win32::{
    Security::{SECURITY_ATTRIBUTES, SecurityIdentification, SecurityImpersonation},
    Storage::FileSystem::{FILE_CREATE_PIPE_INSTANCE, SECURITY_IMPERSONATION},
};

use super::{Case, expect, plain};
use crate::{
    harness::unique,
    windows::{Descriptor, access_list, granted_access, impersonation_level, is_inherited, owner},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        plain("A1", a1_the_descriptor_names_owner_system_and_administrators),
        plain("A1", a1_who_is_let_in_may_read_and_write_and_no_more),
        plain("A1", a1_every_instance_of_a_listener_has_the_descriptor),
        plain("A1", a1_a_descriptor_is_set_as_it_is_written),
        plain("A1", a1_raw_attributes_are_set_as_they_are),
        plain("A1", a1_a_client_asks_for_the_least_access),
        plain("A3", a3_a_server_acts_as_its_client_and_goes_back),
        plain("A3", a3_a_server_without_a_client_acts_as_nobody),
        plain("A3", a3_a_client_lets_a_server_know_it_and_no_more),
    ]
}

/// Reading, writing, switching the read mode, and looking at the pipe.
const READ_AND_WRITE: u32 = 0x0012_018b;

/// This process's user, as text.
fn me() -> String {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let _client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    server.stream().peer().unwrap().sid().unwrap().to_owned()
}

/// The same, by its name.
fn my_account() -> String {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let _client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    server.stream().peer().unwrap().account().unwrap()
}

/// The entries of an access list. What stands before them says how a list is handed down, which pipes never do.
fn entries(list: &str) -> &str {
    list.find('(').map_or(list, |start| &list[start..])
}

/// The object has exactly these entries, in this order.
#[track_caller]
fn expect_entries(pipe: &impl AsHandle, wanted: &str) {
    // The system's spelling of one account may be another than ours.
    let wanted = Descriptor::parse(wanted).access_list();
    assert!(entries(&wanted).starts_with('('), "{wanted} has entries");
    assert_eq!(entries(&access_list(pipe.as_handle())), entries(&wanted));
}

/// What every pipe's list begins with, unless somebody writes a descriptor of their own.
fn always() -> String {
    format!("D:P(A;;FA;;;{})(A;;FA;;;SY)(A;;FA;;;BA)", me())
}

/// A1: and nobody else; the pipe belongs to who made it.
fn a1_the_descriptor_names_owner_system_and_administrators() {
    let made: [fn(&mut NamedPipeBuilder) -> &mut NamedPipeBuilder; 3] = [
        |builder| builder,
        |builder| builder.access(Access::owner()),
        |builder| builder.access(Access::everyone()).access(Access::default()),
    ];
    for make in made {
        let pipe = make(&mut NamedPipeBuilder::new(unique())).create().unwrap();
        expect_entries(&pipe, &always());
        assert_eq!(owner(pipe.as_handle()), Descriptor::parse(&format!("O:{}", me())).owner());
    }
}

/// A1: the right to make instances is not among what they get.
fn a1_who_is_let_in_may_read_and_write_and_no_more() {
    assert_eq!(READ_AND_WRITE & FILE_CREATE_PIPE_INSTANCE, 0);
    let (users, stranger) = ("S-1-5-32-545", "S-1-5-21-11-22-33-1004");
    let lets_in: [(Access, &[&str]); 6] = [
        (Access::everyone(), &["AU"]),
        (Access::owner().user(stranger), &[stranger]),
        (Access::owner().group(users), &[users]),
        (Access::owner().group(users).user(stranger).user("S-1-5-19"), &[stranger, "S-1-5-19", users]),
        (Access::everyone().group(users), &["AU", users]),
        (Access::owner().user(my_account()), &[&me()]),
    ];
    for (access, accounts) in lets_in {
        let entry = |account: &&str| format!("(A;;{READ_AND_WRITE:#x};;;{account})");
        let added: String = accounts.iter().map(entry).collect();
        let pipe = NamedPipeBuilder::new(unique()).access(access).create().unwrap();
        expect_entries(&pipe, &format!("{}{added}", always()));
    }
}

/// A1: the first, those after it, and what a client sees of them.
fn a1_every_instance_of_a_listener_has_the_descriptor() {
    let name = unique();
    let listener = NamedPipeBuilder::new(&name).access(Access::everyone()).listen().unwrap();
    let wanted = format!("{}(A;;{READ_AND_WRITE:#x};;;AU)", always());
    for _ in 0..3 {
        let client = pipework::connect(&name).unwrap();
        let server = listener.accept().unwrap();
        expect_entries(&server, &wanted);
        expect_entries(&client, &wanted);
    }
}

/// A1: nothing is added to it, left out, or put in another order.
fn a1_a_descriptor_is_set_as_it_is_written() {
    for text in [
        "D:P(A;;FA;;;OW)(A;;0x12018b;;;AU)",
        "D:(D;;FA;;;BG)(A;;FA;;;SY)(A;;0x120089;;;S-1-5-21-11-22-33-1004)",
        "D:(A;;FA;;;WD)",
    ] {
        let pipe = NamedPipeBuilder::new(unique()).access(Access::from_sddl(text)).create().unwrap();
        expect_entries(&pipe, text);
    }
}

/// A1: instead of what `access` says, and with it whether children inherit the handle.
fn a1_raw_attributes_are_set_as_they_are() {
    let text = "D:(A;;FA;;;WD)(A;;0x12018b;;;BG)";
    let descriptor = Descriptor::parse(&format!("O:{}{text}", me()));
    for inherited in [true, false] {
        let name = unique();
        let mut builder = NamedPipeBuilder::new(&name);
        builder.access(Access::everyone()).pipe_mode(PipeMode::Message).in_buffer_size(77);
        let mut attributes: SECURITY_ATTRIBUTES = descriptor.attributes(inherited);
        // SAFETY: the attributes are a local, and point to a descriptor that lives on.
        let pipe = unsafe { builder.with_security_attributes((&raw mut attributes).cast()) }.unwrap();
        expect_entries(&pipe, text);
        assert_eq!(is_inherited(pipe.as_handle()), inherited);
        let info = pipe.stream().info().unwrap();
        assert_eq!((info.mode, info.in_buffer_size), (PipeMode::Message, 77), "the rest is the builder's");
        // It is an instance like any other.
        let mut client = pipework::connect(&name).unwrap();
        pipe.connect().unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(pipe.stream().read_message(9).unwrap(), Some(b"x".to_vec()));
    }
}

/// A1: so that it gets in wherever it was let in: never to make instances, and to read or write only if it wants to.
fn a1_a_client_asks_for_the_least_access() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    for (read, write, access) in
        [(true, true, READ_AND_WRITE), (true, false, 0x0012_0189), (false, true, 0x0012_0182)]
    {
        let client = ClientOptions::new().read(read).write(write).open(&name).unwrap();
        assert_eq!(granted_access(client.as_handle()), access, "read {read}, write {write}");
        drop(client);
        server.disconnect().unwrap();
        expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    }
    let client = pipework::connect(&name).unwrap();
    assert_eq!(granted_access(client.as_handle()), READ_AND_WRITE);
}

/// A3: this thread and no other, as far as the client allows; inside of each other too.
fn a3_a_server_acts_as_its_client_and_goes_back() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = ClientOptions::new().security_qos_flags(SECURITY_IMPERSONATION).open(&name).unwrap();
    server.connect().unwrap();
    client.write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    assert_eq!(impersonation_level(), None);
    let levels = server.stream().impersonate(|| {
        let inner = server.stream().impersonate(impersonation_level).unwrap();
        let elsewhere = std::thread::scope(|scope| scope.spawn(impersonation_level).join().unwrap());
        (inner, impersonation_level(), elsewhere)
    });
    let client_level = Some(SecurityImpersonation);
    assert_eq!(levels.unwrap(), (client_level, client_level, None));
    assert_eq!(impersonation_level(), None);
}

/// A3: then nothing is done at all.
fn a3_a_server_without_a_client_acts_as_nobody() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let never = || panic!("it acts as itself, and not as a client");
    expect(server.stream().impersonate(never), PipeErrorKind::Listening);
    let client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    expect(client.impersonate(never), PipeErrorKind::Unsupported);
    let old = server.stream().try_clone().unwrap();
    server.disconnect().unwrap();
    expect(server.stream().impersonate(never), PipeErrorKind::NotConnected);
    expect(server.connect_timeout(Duration::ZERO), PipeErrorKind::TimedOut);
    let _next = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    expect(old.impersonate(never), PipeErrorKind::NotConnected);
    assert_eq!(impersonation_level(), None);
}

/// A3: unless it says otherwise.
fn a3_a_client_lets_a_server_know_it_and_no_more() {
    let name = unique();
    let server = NamedPipe::new(&name).unwrap();
    let mut client = pipework::connect(&name).unwrap();
    server.connect().unwrap();
    client.write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    assert_eq!(server.stream().impersonate(impersonation_level).unwrap(), Some(SecurityIdentification));
}

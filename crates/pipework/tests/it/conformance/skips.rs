//! The cases that are skipped, by name and with the reason: what only another system has, and where Wine differs from
//! Windows.

use super::{Case, Run};

/// A case that one system has: its rule, its name, and why another system does not have it.
type Foreign = (&'static str, &'static str, &'static str);

const USERS: &str = "not on this system: the case becomes another user, as root of Unix can";
const SEALS: &str = "not on this system: the kernel holds the data, no memory is shared";
const MODES: &str = "not on this system: there are no modes and no umask";
const FILES: &str = "not on this system: names are no files";
const DESCRIPTORS: &str = "not on this system: handles are no descriptors";
const READINESS: &str = "not on this system: no descriptor signals readiness";
const SOCKETS: &str = "not on this system: a path is no name of a pipe";
const PROTOCOL: &str = "not on this system: only the kernel speaks to the other end";
const NETWORK: &str = "not on this system: its network has pipes, and no gateway delegates identities";
const CREATORS: &str = "not on this system: creators take no lock";
const AHEAD: &str =
    "not on this system: it reports room by completing a write, so one write beyond the room is started";
const NOT_AHEAD: &str = "not on this system: no async write is started without room";
const SIGNALS: &str = "not on this system: no thread can look for a signal that was raised";
const FILTER: &str = "not on this system: no filter makes system calls fail";
const FORKS: &str = "not on this system: no process is forked";
const NUMBERS: &str = "not on this system: it has no namespaces of process numbers";
const FULL: &str = "not on this system: the case fills the socket of an end, which only Linux can find";
const NAMESPACES: &str = "not on this system: the case makes a mount namespace, as root of Linux can";
const HOLDS: &str = "not on this system: a name lives as long as it has an instance";
const EMPTY_ROOM: &str = "not on this system: empty messages take no room";
const EMPTY: &str = "not on this system: peek does not distinguish an empty message from none";
const HANDLES: &str = "not on this system: descriptors are no handles";
const DESCRIPTOR: &str = "not on this system: no security descriptors and no impersonation";
const OVERLAPPED: &str = "not on this system: no call is overlapped";

const QUEUES: &str = "not on this system: no order is promised to those who wait";

const FIRST: &str = "Wine makes another first instance of a name";
const DIRECTIONS: &str =
    "Wine opens a one-way pipe for the other way, if less than all generic rights are asked for";
const GONE: &str = "Wine goes on waiting for a name that has gone";
const LEVEL: &str = "Wine lets every server act as its client";
const LIST: &str = "Wine does not list pipes";

/// Cases of Unix only.
const OF_UNIX: &[Foreign] = &[
    ("N1", "n1_another_computer_is_unsupported", NETWORK),
    ("M1", "m1_a_writer_goes_on_when_empty_messages_are_skipped", EMPTY_ROOM),
    ("M4", "m4_peek_sees_an_empty_message", EMPTY),
    ("A1", "a1_another_user_is_refused_unless_let_in", USERS),
    ("A1", "a1_everyone_may_be_let_in", USERS),
    ("A1", "a1_everyone_may_be_let_in_where_the_owner_alone_was", MODES),
    ("A1", "a1_one_user_may_be_let_in", USERS),
    ("A1", "a1_one_group_may_be_let_in", USERS),
    ("A1", "a1_whoever_is_let_in_may_not_create_instances", USERS),
    ("A1", "a1_nobody_is_let_in_where_memory_cannot_be_sealed", SEALS),
    ("N9", "n9_a_listener_restores_its_name", FILES),
    ("N9", "n9_a_listener_restores_each_part_of_its_name", FILES),
    ("N9", "n9_a_listener_restores_the_directory_of_names", FILES),
    ("N9", "n9_a_listener_restores_its_name_when_it_accepts", FILES),
    ("N9", "n9_an_event_loop_restores_its_name", READINESS),
    ("N9", "n9_a_listener_counts_what_it_restored", FILES),
    ("N9", "n9_an_instance_whose_name_was_removed_is_absent", FILES),
    ("N9", "n9_a_name_that_another_server_took_stays_its_own", FILES),
    ("N9", "n9_a_name_without_its_header_is_taken", FILES),
    ("N9", "n9_a_header_of_another_pipe_is_noticed", FILES),
    ("N9", "n9_a_restored_name_counts_all_instances", FILES),
    ("N9", "n9_all_processes_restore_their_part_of_a_name", FILES),
    ("N9", "n9_an_ended_name_is_not_restored", FILES),
    ("N9", "n9_no_file_of_a_live_name_looks_old", FILES),
    ("N9", "n9_a_count_that_something_changed_is_an_error", FILES),
    ("N9", "n9_a_listener_restores_its_socket", SOCKETS),
    ("N9", "n9_a_listener_that_only_looks_waits_for_no_lock", SOCKETS),
    ("N9", "n9_a_socket_that_another_server_took_stays_its_own", SOCKETS),
    ("N3", "n3_all_instances_accept_the_network_or_none", NETWORK),
    ("A1", "a1_the_network_is_refused_where_memory_cannot_be_sealed", NETWORK),
    ("A1", "a1_the_network_comes_only_where_it_was_asked_for", NETWORK),
    ("A1", "a1_access_counts_for_callers_of_the_network", NETWORK),
    ("A1", "a1_a_pipe_for_the_network_needs_roots_grant", NETWORK),
    ("A2", "a2_a_refused_caller_of_the_network_takes_no_instance", NETWORK),
    ("A3", "a3_a_caller_of_the_network_is_known", NETWORK),
    ("A3", "a3_a_caller_of_the_network_is_known_after_it_has_gone", NETWORK),
    ("A3", "a3_only_root_is_believed_about_the_network", NETWORK),
    ("A3", "a3_a_caller_that_cannot_be_told_is_invalid", NETWORK),
    ("list", "list_tells_what_accepts_the_network", NETWORK),
    ("A2", "a2_refusal_takes_no_instance_and_moves_no_byte", USERS),
    ("A3", "a3_a_peer_of_another_user_is_told_apart", USERS),
    ("A4", "a4_a_strangers_directory_is_not_trusted", FILES),
    ("A5", "a5_the_mode_is_set_before_the_name_is_visible", MODES),
    ("A5", "a5_another_user_never_gets_in_while_pipes_are_made", USERS),
    ("A5", "a5_the_umask_changes_nothing", MODES),
    ("A5", "a5_a_narrow_umask_keeps_nobody_out_who_was_let_in", MODES),
    ("P1", "p1_ends_are_descriptors", DESCRIPTORS),
    ("listener", "listener_at_its_maximum_keeps_its_name", HOLDS),
    ("listener", "listener_tries_without_waiting_while_another_process_creates", CREATORS),
    ("listener", "listener_times_out_while_another_process_creates", CREATORS),
    ("listener", "listener_threads_wait_apart_while_another_process_creates", CREATORS),
    ("list", "list_leaves_plain_sockets_out", SOCKETS),
    ("list", "list_removes_an_empty_directory", FILES),
    ("N6", "n6_what_was_left_of_a_name_is_for_its_next_creator", FILES),
    ("list", "list_leaves_another_version_alone", FILES),
    ("list", "list_leaves_foreign_headers_alone", FILES),
    ("input", "input_a_directory_that_is_a_symlink_is_refused", FILES),
    ("input", "input_a_directory_open_to_writing_is_refused", FILES),
    ("input", "input_a_directory_of_another_user_is_refused", FILES),
    ("input", "input_a_directory_that_is_a_file_is_refused", FILES),
    ("input", "input_a_file_in_the_way_of_a_pipe_stays", FILES),
    ("input", "input_a_link_in_the_way_of_a_pipe_stays", FILES),
    ("input", "input_a_full_file_system_is_told", FILES),
    ("input", "input_a_read_only_file_system_is_told", FILES),
    ("input", "input_too_few_descriptors_is_told_and_passes", DESCRIPTORS),
    ("input", "input_a_peer_of_another_protocol_ends_only_its_connection", PROTOCOL),
    ("input", "input_a_silent_peer_holds_up_nobody", PROTOCOL),
    ("shortage", "shortage_of_descriptors_loses_nothing_that_was_sent", DESCRIPTORS),
    ("shortage", "shortage_of_descriptors_hides_no_disconnect", DESCRIPTORS),
    ("shortage", "shortage_of_file_size_is_an_error_and_no_signal", DESCRIPTORS),
    ("forking", "forking_a_child_gives_nothing_back", FORKS),
    ("forking", "forking_a_daemon_adopts_its_parents_listener", FORKS),
    ("forking", "forking_a_daemon_serves_who_came_before", FORKS),
    ("forking", "forking_a_daemon_adopts_a_plain_socket", FORKS),
    ("forking", "forking_a_listener_is_adopted_before_it_is_dropped", FORKS),
    ("forking", "forking_a_child_accepts_only_what_it_has_adopted", FORKS),
    ("forking", "forking_an_adoption_that_fails_changes_nothing", FORKS),
    ("forking", "forking_leaves_the_event_loop_of_the_parent_at_rest", FORKS),
    ("readiness", "readiness_of_reading", READINESS),
    ("readiness", "readiness_of_writing", READINESS),
    ("readiness", "readiness_tells_of_the_end", READINESS),
    ("readiness", "readiness_tells_of_a_kill", READINESS),
    ("readiness", "readiness_of_accepting", READINESS),
    ("readiness", "readiness_of_messages", READINESS),
    ("readiness", "readiness_wakes_a_poll_that_waits", READINESS),
    ("readiness", "readiness_moves_much_data", READINESS),
    ("readiness", "readiness_of_a_plain_socket", READINESS),
    ("readiness", "readiness_beside_blocking_calls", READINESS),
    ("readiness", "readiness_of_a_large_message_before_the_end", READINESS),
    ("readiness", "readiness_of_skipped_empty_messages", READINESS),
    ("readiness", "readiness_rests_while_a_thread_has_the_direction", READINESS),
    ("readiness", "readiness_without_a_quota", READINESS),
    ("readiness", "readiness_of_a_place_that_a_killed_process_leaves", READINESS),
    ("readiness", "readiness_of_the_end_before_the_hello", READINESS),
    ("socket", "socket_served_and_opened_by_path", SOCKETS),
    ("socket", "socket_served_to_std", SOCKETS),
    ("socket", "socket_opened_from_std", SOCKETS),
    ("socket", "socket_served_to_python", SOCKETS),
    ("socket", "socket_opened_from_python", SOCKETS),
    ("socket", "socket_file_goes_with_its_listener", SOCKETS),
    ("socket", "socket_of_a_dead_server_is_replaced", SOCKETS),
    ("socket", "socket_of_a_live_server_is_taken", SOCKETS),
    ("socket", "socket_of_racing_servers_is_of_exactly_one", SOCKETS),
    ("socket", "socket_is_not_removed_by_the_server_before", SOCKETS),
    ("socket", "socket_admits_nobody_before_its_permission", SOCKETS),
    ("socket", "socket_is_listed_at_its_own_path", SOCKETS),
    ("socket", "socket_never_replaces_another_file", SOCKETS),
    ("socket", "socket_that_nobody_serves_is_absent", SOCKETS),
    ("socket", "socket_has_no_instances", SOCKETS),
    ("socket", "socket_has_no_messages", SOCKETS),
    ("socket", "socket_can_be_half_closed", SOCKETS),
    ("socket", "socket_has_deadlines_and_cancellers", SOCKETS),
    ("socket", "socket_write_reports_what_went_before_its_peer_left", SOCKETS),
    ("socket", "socket_knows_its_peer", SOCKETS),
    ("socket", "socket_is_for_its_owner_unless_told_otherwise", SOCKETS),
    ("socket", "socket_becomes_a_unix_stream", SOCKETS),
    ("socket", "socket_path_that_is_too_long_is_invalid", SOCKETS),
];

/// Async cases of Unix only.
const OF_UNIX_TASKS: &[Foreign] = &[
    ("tasks", "tasks_wait_at_no_descriptor_of_their_own", DESCRIPTORS),
    ("tasks", "tasks_try_and_are_told_when_to_try_again", AHEAD),
    ("tasks", "tasks_are_told_of_room_for_what_they_tried", AHEAD),
    ("tasks", "tasks_accept_while_another_process_creates", CREATORS),
    ("tasks", "tasks_at_a_silent_client_are_polled_for_news_only", PROTOCOL),
    ("tasks", "tasks_try_over_skipped_empty_messages", EMPTY_ROOM),
    ("tasks", "tasks_try_without_a_quota", AHEAD),
];

/// Async cases of Windows only.
const OF_WINDOWS_TASKS: &[Foreign] = &[
    ("tasks", "tasks_write_one_write_ahead", NOT_AHEAD),
    ("tasks", "tasks_that_are_gone_have_written", NOT_AHEAD),
    ("tasks", "tasks_that_are_gone_hold_nobody_up", NOT_AHEAD),
];

/// Cases of Linux only.
const OF_LINUX: &[Foreign] = &[
    ("C4", "c4_those_who_wait_get_in_in_order", QUEUES),
    ("N9", "n9_tmpfiles_leaves_live_names", FILES),
    ("shortage", "shortage_of_anything_sends_a_message_once_or_fails", FILTER),
    ("shortage", "shortage_of_descriptors_in_flight_ends_no_wait_early", FILTER),
    ("shortage", "shortage_of_memory_lets_a_write_ring_beyond_its_limit", FILTER),
    ("shortage", "shortage_of_memory_keeps_the_claim_of_a_client", FILTER),
    ("shortage", "shortage_of_memory_is_waited_for_by_a_disconnect", FILTER),
    ("shortage", "shortage_of_memory_keeps_an_event_loop_awake", FILTER),
    ("shortage", "shortage_of_memory_loses_no_wake_up", FILTER),
    ("B5", "b5_writing_to_a_closed_end_raises_no_signal", SIGNALS),
    ("P2", "p2_writing_without_a_reader_raises_no_signal", SIGNALS),
    ("forking", "forking_a_child_with_the_number_of_its_parent_gives_nothing_back", NUMBERS),
    ("readiness", "readiness_of_a_large_message_and_a_full_socket", FULL),
    ("N6", "n6_without_proc_pipes_are_seen_and_stay", NAMESPACES),
    ("N6", "n6_without_proc_a_long_path_is_unsupported_and_stays", NAMESPACES),
    ("N6", "n6_a_thread_needs_no_first_thread", NAMESPACES),
    ("N6", "n6_another_view_removes_nothing", NAMESPACES),
    ("N6", "n6_what_an_overlay_left_is_removed_by_the_next", NAMESPACES),
    ("N6", "n6_of_two_views_at_most_one_begins", NAMESPACES),
    ("N6", "n6_a_bind_mount_is_no_other_view", NAMESPACES),
    ("N6", "n6_fuse_removes_only_what_fuse_made", NAMESPACES),
    ("N9", "n9_a_name_for_all_users_is_restored_where_they_look", NAMESPACES),
    ("socket", "socket_by_fuse_is_not_replaced", NAMESPACES),
    ("A4", "a4_one_directory_by_two_paths_is_one", NAMESPACES),
    ("A4", "a4_what_another_user_put_in_the_way_is_passed_over", NAMESPACES),
    ("A4", "a4_where_no_place_is_left_the_remedy_is_named", NAMESPACES),
    ("A4", "a4_an_empty_variable_is_no_variable", NAMESPACES),
    ("A5", "a5_a_narrow_umask_does_not_narrow_the_directory_of_all_users", NAMESPACES),
    ("A5", "a5_what_is_advised_suffices", USERS),
    ("A5", "a5_an_id_that_is_not_mapped_is_named", NAMESPACES),
];

/// Async cases of Linux only.
const OF_LINUX_TASKS: &[Foreign] = &[
    ("tasks", "tasks_write_a_large_message_to_a_full_socket", FULL),
    ("shortage", "shortage_of_memory_loses_no_wake_up_of_a_task", FILTER),
];

/// Cases of Windows only.
const OF_WINDOWS: &[Foreign] = &[
    ("P1", "p1_ends_are_handles", HANDLES),
    ("A1", "a1_the_descriptor_names_owner_system_and_administrators", DESCRIPTOR),
    ("A1", "a1_who_is_let_in_may_read_and_write_and_no_more", DESCRIPTOR),
    ("A1", "a1_every_instance_of_a_listener_has_the_descriptor", DESCRIPTOR),
    ("A1", "a1_a_descriptor_is_set_as_it_is_written", DESCRIPTOR),
    ("A1", "a1_raw_attributes_are_set_as_they_are", DESCRIPTOR),
    ("A1", "a1_a_client_asks_for_the_least_access", DESCRIPTOR),
    ("A3", "a3_a_server_acts_as_its_client_and_goes_back", DESCRIPTOR),
    ("A3", "a3_a_server_without_a_client_acts_as_nobody", DESCRIPTOR),
    ("A3", "a3_a_client_lets_a_server_know_it_and_no_more", DESCRIPTOR),
    ("handles", "handles_of_other_code_become_ends", HANDLES),
    ("handles", "handles_that_hold_each_other_up_are_refused", HANDLES),
    ("handles", "handles_keep_the_read_mode", HANDLES),
    ("handles", "handles_of_servers_keep_client_and_data", HANDLES),
    ("handles", "handles_of_servers_without_a_client_go_on_serving", HANDLES),
    ("handles", "handles_are_not_inherited", HANDLES),
    ("handles", "handles_are_not_left_by_what_fails", HANDLES),
    ("overlapped", "overlapped_connect_ends_when_a_client_comes", OVERLAPPED),
    ("overlapped", "overlapped_connect_tells_that_a_client_is_there", OVERLAPPED),
    ("overlapped", "overlapped_connect_tells_that_a_client_was_there", OVERLAPPED),
    ("overlapped", "overlapped_read_ends_at_once_or_later", OVERLAPPED),
    ("overlapped", "overlapped_write_ends_at_once_or_later", OVERLAPPED),
    ("overlapped", "overlapped_read_gets_a_part_of_a_message", OVERLAPPED),
    ("overlapped", "overlapped_calls_without_a_client_fail_at_once", OVERLAPPED),
    ("overlapped", "overlapped_result_tells_why_an_operation_ended", OVERLAPPED),
    ("overlapped", "overlapped_calls_serve_one_client_after_the_other", OVERLAPPED),
    ("overlapped", "overlapped_and_blocking_calls_can_take_turns", OVERLAPPED),
    ("overlapped", "overlapped_calls_alone_reach_a_completion_port", OVERLAPPED),
    ("F3", "f3_an_overlapped_read_ends_with_its_connection", OVERLAPPED),
    ("F3", "f3_an_overlapped_write_ends_with_its_connection", OVERLAPPED),
];

/// What fails under Wine although it is right on Windows: the name of the case, and what Wine does instead.
const WRONG_IN_WINE: &[(&str, &str)] = &[
    ("n2_first_is_refused_when_the_name_exists", FIRST),
    ("n2_first_is_refused_when_the_name_exists_in_another_process", FIRST),
    ("n2_of_sixteen_racing_processes_exactly_one_is_first", FIRST),
    ("n2_the_short_forms_are_first", FIRST),
    ("n3_another_type_is_refused", "Wine makes an instance of another type than the first"),
    ("c4_wait_ends_when_the_last_instance_goes", GONE),
    ("c4_those_who_wait_for_a_killed_server_find_the_next", GONE),
    ("c5_an_inbound_server_is_opened_for_writing_only", DIRECTIONS),
    ("c5_an_outbound_server_is_opened_for_reading_only", DIRECTIONS),
    ("c5_connect_takes_the_one_direction_there_is", DIRECTIONS),
    ("c7_disconnect_takes_a_listening_instance_away", "Wine does not disconnect an instance that listens"),
    ("f1_drain_is_broken_when_the_reader_has_gone", "Wine flushes a pipe that is closed"),
    ("a3_a_client_lets_a_server_know_it_and_no_more", LEVEL),
    ("list_tells_what_a_pipe_is", LIST),
    ("list_counts_instances_of_all_processes", LIST),
    ("list_counts_what_listens", LIST),
    ("list_forgets_killed_servers", LIST),
    ("list_removes_what_a_killed_server_left", LIST),
    ("list_shows_names_as_they_were_given", LIST),
    ("list_is_empty_without_pipes", LIST),
];

/// The same for async cases.
const WRONG_IN_WINE_TASKS: &[(&str, &str)] = &[("tasks_have_tokios_options", DIRECTIONS)];

/// The cases of other systems, which are reported as skipped here.
pub(super) fn cases() -> Vec<Case> {
    foreign(false)
        .map(|&(rule, name, why)| Case {
            name,
            rule,
            long: false,
            is_of_all_surfaces: false,
            run: Run::Elsewhere(why),
        })
        .collect()
}

/// The names of the cases that are listed as missing on other systems, and that this one has.
pub(crate) fn known_on_other_systems() -> Vec<&'static str> {
    foreign(true).map(|(_, name, _)| *name).collect()
}

/// The cases of single systems: those that this system has, or those that it does not have.
fn foreign(is_here: bool) -> impl Iterator<Item = &'static Foreign> {
    let (of_unix, of_linux, of_windows) = if cfg!(feature = "tokio") {
        (OF_UNIX_TASKS, OF_LINUX_TASKS, OF_WINDOWS_TASKS)
    } else {
        (&[][..], &[][..], &[][..])
    };
    [
        (OF_UNIX, cfg!(unix)),
        (of_unix, cfg!(unix)),
        (OF_LINUX, cfg!(target_os = "linux")),
        (of_linux, cfg!(target_os = "linux")),
        (OF_WINDOWS, cfg!(windows)),
        (of_windows, cfg!(windows)),
    ]
    .into_iter()
    .filter(move |(_, here)| *here == is_here)
    .flat_map(|(cases, _)| cases)
}

/// The names of the cases that Wine gets wrong.
pub(crate) fn wrong_in_wine() -> impl Iterator<Item = &'static str> {
    all_wrong_in_wine().map(|(name, _)| *name)
}

fn all_wrong_in_wine() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let of_tasks = if cfg!(feature = "tokio") { WRONG_IN_WINE_TASKS } else { &[] };
    WRONG_IN_WINE.iter().chain(of_tasks)
}

/// Why a case can't pass here, if it can't.
pub(crate) fn reason_against(name: &str) -> Option<&'static str> {
    #[cfg(windows)]
    if crate::windows::is_wine() {
        return all_wrong_in_wine().find(|(wrong, _)| *wrong == name).map(|(_, why)| *why);
    }
    let _elsewhere_all_can_pass = name;
    None
}

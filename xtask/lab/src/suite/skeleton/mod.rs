//! The suite `skeleton`: drops and DNS on real packets, from the kernel's hooks to the end of the event stream.

pub mod clsact;
pub mod debug;
pub mod dns;
pub mod drops;
pub mod ends;
pub mod healthy;
pub mod hooks;
pub mod http;
pub mod identity;
pub mod latency;
pub mod ledger;
pub mod metadata;
pub mod nat;
pub mod neighbours;
pub mod places;
pub mod stream;

use super::Suite;
use super::case::case_table;

/// Hands the list of all cases to a macro: groups (modules of this suite), and the functions in each. Those after
/// `alone` measure and run by themselves.
#[macro_export]
macro_rules! skeleton_cases {
    ($each:ident) => {
        $each! {
            together {
            drops: drop_forward_nft, drop_iptables_nft, drop_iptables_legacy, drop_no_socket, drop_no_route, drop_ttl,
                tcp_retransmits_are_further_events;
            hooks: drop_prerouting, drop_input, drop_output, drop_postrouting;
            nat: dnat_dropped, to_internet_dropped, masqueraded_dropped;
            dns: dns_ok, dns_nxdomain, dns_servfail, dns_truncated, dns_unanswered, dns_question_dropped,
                dns_directly_to_pod_ip, dns_to_internet;
            healthy: healthy_traffic;
            places: host_routed;
            neighbours: foreign_tcx_ok, nft_earliest_priority, second_instance;
            clsact: clsact_sees_what_tcx_sees, clsact_where_the_kernel_refuses_tcx, clsact_foreign_filters_are_let_be, clsact_sigkill_leaves_inert_filters,
                clsact_two_instances, clsact_comes_back, clsact_waits_for_the_maker_of_an_interface;
            identity: ip_reused, spoofed_source;
            stream: two_clients_same_ids, stuck_client_is_told_what_it_missed, resume_after_id,
                restart_is_told_as_gap;
            ledger: coalescing_counts_exactly;
            ends: sigkill_leaves_nothing, sigterm_drains;
            http: hostile_http, readyz_and_status;
            metadata: metadata_file, no_metadata, api_server_away;
            debug: programs_debug_lines;
            }
            alone {
            ledger: tiny_ring_ledger;
            latency: latency_busy_and_silent;
            places: follow_interfaces;
            }
        }
    };
}

skeleton_cases!(case_table);

/// The suite.
pub const SUITE: Suite = Suite { name: "skeleton", cases: CASES, unavailable };

fn unavailable() -> Option<String> {
    crate::Shop::unavailable().or_else(|| crate::missing(&[("bpftool", "bpftool")]))
}

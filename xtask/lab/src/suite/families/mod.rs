//! The suite `families`: packets too big for their way, resets and floods of them, on real packets.

pub mod aborted;
pub mod connection;
pub mod flood;
pub mod fragments;
pub mod healthy;
pub mod loopback;
pub mod middle;
pub mod once;
pub mod refused;
pub mod remote;
pub mod scattered;
pub mod silent;
pub mod too_big;
pub mod want;

use super::Suite;
use super::case::case_table;

/// Hands the list of all cases to a macro, in the form of `skeleton_cases`.
#[macro_export]
macro_rules! families_cases {
    ($each:ident) => {
        $each! {
            together {
            too_big: too_big_datagram, too_big_segment, too_big_segmented_later, too_big_behind_service,
                too_big_burst;
            remote: too_big_beyond_router, too_big_from_node;
            silent: too_big_for_bridge_port, too_big_for_bridge_port_unfiltered, too_big_into_pod,
                too_big_out_of_pod, black_hole_tells_each_segment;
            fragments: fragments_lost_on_node, fragments_lost_in_pod, fragments_lost_for_node;
            refused: refused_between_pods, refused_behind_service, refused_by_node, refused_to_node,
                refused_from_outside, refused_outside;
            loopback: loopback_of_pod, loopback_of_node;
            aborted: aborted_by_client, aborted_by_server, aborted_behind_service, aborted_with_unread_data,
                process_killed, half_open_without_listener, half_open_with_listener;
            middle: rejected_by_nft, rejected_by_iptables, rejected_by_iptables_legacy, rejected_in_input,
                rejected_while_open, forged_by_another_pod;
            once: each_reset_once_bridge, each_reset_once_host_routed, each_reset_once_stacked;
            flood: below_the_floor;
            healthy: healthy_minute, many_closed_by_server;
            }
            alone {
            flood: storm_counts_exactly, storm_of_refusals, others_are_told_beside_a_storm;
            scattered: storm_to_many_counts_exactly;
            }
        }
    };
}

families_cases!(case_table);

/// The suite.
pub const SUITE: Suite = Suite { name: "families", cases: CASES, unavailable };

fn unavailable() -> Option<String> {
    crate::Shop::unavailable().or_else(|| crate::missing(&[("socat", "socat")]))
}

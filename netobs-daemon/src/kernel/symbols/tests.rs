//! Look-ups in small tables and in the running kernel's.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Symbols, SymbolsError> {
    Symbols::parse(text.as_bytes())
}

#[test]
fn addresses_find_their_function() {
    let symbols = parse(
        "0000000000000000 A per_cpu_start\n\
         ffffffff81000000 T _text\n\
         ffffffff81000000 T second_name\n\
         ffffffff81000800 t __pfx_nft_do_chain\n\
         ffffffff81000810 t nft_do_chain.isra.0\n\
         ffffffff81000900 d not_code\n\
         ffffffff81001000 W tcp_v4_rcv\n\
         ffffffffc0200000 t br_handle_frame\t[bridge]\n\
         nonsense\n",
    )
    .unwrap();
    assert_eq!(symbols.len(), 4);
    for (address, name) in [
        (0xffff_ffff_8100_0000, Some("_text")),
        (0xffff_ffff_8100_0810, Some("nft_do_chain")),
        (0xffff_ffff_8100_0fff, Some("nft_do_chain")),
        (0xffff_ffff_8100_1004, Some("tcp_v4_rcv")),
        (0xffff_ffff_c020_0010, Some("br_handle_frame")),
        (0xffff_ffff_9000_0000, None),
        (0xffff_ffff_80ff_ffff, None),
        (0, None),
        (u64::MAX, None),
    ] {
        assert_eq!(symbols.name(address), name, "{address:x}");
    }
}

#[test]
fn an_address_of_which_half_is_known_is_completed() {
    // Also across a boundary of 4 GiB, as it may be on arm64.
    for (text, addresses) in [
        ("ffffffff81000000 T _text\nffffffffc0200000 t last\n", [0xffff_ffff_8100_0000u64, 0xffff_ffff_c020_0010]),
        ("ffffa000ff000000 T _text\nffffa00100200000 t last\n", [0xffff_a000_ff00_0010, 0xffff_a001_0020_0010]),
    ] {
        let symbols = parse(text).unwrap();
        for address in addresses {
            assert_eq!(symbols.completed(address & 0xffff_ffff), address);
            assert_eq!(symbols.completed(address), address);
        }
        assert_eq!(symbols.completed(0), 0, "not known");
    }
}

#[test]
fn hidden_and_empty_tables_say_so() {
    assert!(matches!(parse("0000000000000000 T _text\n"), Err(SymbolsError::Hidden)));
    assert!(matches!(parse("ffffffff81000000 d data\n"), Err(SymbolsError::Empty)));
}

#[test]
fn what_lies_too_far_below_is_counted() {
    let symbols = parse("0000000000001000 T low\nffffffff81000000 T high\n").unwrap();
    assert_eq!((symbols.len(), symbols.left_out()), (1, 1));
    assert_eq!(symbols.name(0x1000), None);
    assert_eq!(symbols.name(0xffff_ffff_8100_0001), Some("high"));
}

#[test]
fn the_running_kernels_table_is_small() {
    let symbols = match Symbols::load() {
        Ok(symbols) => symbols,
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    println!("{symbols:?}, left out {}", symbols.left_out());
    assert!(symbols.len() > 10_000);
    assert!(symbols.bytes() < 8 << 20, "{}", symbols.bytes());
    let line = std::fs::read_to_string(KALLSYMS).unwrap();
    let line = line.lines().find(|line| line.ends_with(" T tcp_v4_rcv")).unwrap();
    let address = u64::from_str_radix(&line[..16], 16).unwrap();
    assert_eq!(symbols.name(address + 5), Some("tcp_v4_rcv"));
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "([0-9a-f]{0,17} [tTdwW] [a-z.é]{0,8}( \\[x\\])?\n){0,20}", at in any::<u64>()) {
        if let Ok(symbols) = parse(&text) {
            let _ = symbols.name(at);
        }
    }
}

//! The defaults that the guide's page states, held to the code.

use dreamsocket::client::{Connect, Reconnect};

/// The second column of an option's row.
fn said(option: &str) -> &'static str {
    let page = include_str!("../../../../docs/client.md");
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| `{option}` |")))
        .unwrap_or_else(|| panic!("the page has no {option}"));
    row.split('|').nth(2).unwrap().trim()
}

#[test]
fn the_page_says_what_the_code_does() {
    let connect = format!("{:?}", Connect::new("").with_reconnect(Reconnect::new()));
    for (option, field) in [
        ("with_dns_timeout", "dns"),
        ("with_connect_timeout", "connect"),
        ("with_tls_timeout", "tls"),
        ("with_handshake_timeout", "handshake"),
        ("with_first_delay", "first_delay"),
        ("with_max_delay", "max_delay"),
        ("with_jitter", "jitter"),
        ("with_max_attempts", "max_attempts"),
        ("with_stable_after", "stable_after"),
        ("with_first_retried", "is_first_retried"),
    ] {
        let value = match said(option) {
            "none" => "None".to_owned(),
            "no" => "false".to_owned(),
            said => said.replace(" s", "s").replace('`', ""),
        };
        let stated = format!("{field}: {value}");
        assert!(connect.contains(&stated), "{stated} is not in {connect}");
    }
}

//! Syntax of e-mail addresses. Their existence is upstream's concern.

/// Maximum length of the local part in octets (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// Maximum length of an address in octets: an SMTP path of 256 octets less its angle brackets.
const ADDRESS_MAX: usize = 254;
/// Maximum length of a label of the domain in octets (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// Returns whether `text` has the syntax of an internet e-mail address.
///
/// Letters beyond ASCII are accepted on both sides (RFC 6531), and so are dots at any position of the local part:
/// Japanese carriers have given out `a..b@docomo.ne.jp` and `abc.@docomo.ne.jp`. Comments, address literals, domains
/// of one label, and a pasted `Jane <jane@example.com>` are refused.
#[must_use]
pub fn is_email_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    text.len() <= ADDRESS_MAX && local.len() <= LOCAL_MAX && is_local(local) && is_domain(domain)
}

fn is_local(local: &str) -> bool {
    !local.is_empty() && local.chars().all(|c| c == '.' || is_atom_char(c))
}

fn is_atom_char(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_whitespace() && !c.is_control() && !is_invisible(c)
    }
}

fn is_domain(domain: &str) -> bool {
    let top = domain.rsplit_once('.').map(|(_, top)| top);
    top.is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit())) && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && is_atom_char(c)))
}

/// Returns whether a character is invisible although its class is neither space nor control: such characters come
/// with pasted text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    fn addresses_that_people_have(
        #[values(
            "jane@example.com",
            "jane.doe+remotepc@mail.example.co.uk",
            "j@x.io",
            "a..b@docomo.ne.jp",
            "abc.@docomo.ne.jp",
            ".abc@docomo.ne.jp",
            "o'brien@example.ie",
            "_service-7@sub-domain.example",
            "JANE@EXAMPLE.COM",
            "jörg@münchen.example",
            "用户@例子.公司",
            "1234@5678.example",
            "jane@xn--mnchen-3ya.example"
        )]
        text: &str,
    ) {
        assert!(is_email_address(text));
    }

    #[rstest::rstest]
    fn what_is_no_address(
        #[values(
            "",
            "@",
            "jane",
            "jane@",
            "@example.com",
            "jane@example",
            "jane@@example.com",
            "jane@doe@example.com",
            "jane doe@example.com",
            " jane@example.com",
            "jane@example.com ",
            "jane@example.com\n",
            "jane\u{0}@example.com",
            "jane\u{a0}doe@example.com",
            "jane@exam ple.com",
            "jane@.example.com",
            "jane@example.com.",
            "jane@example..com",
            "jane@-example.com",
            "jane@example-.com",
            "jane@exa_mple.com",
            "jane@127.0.0.1",
            "jane@[127.0.0.1]",
            "\"jane\"@example.com",
            "Jane <jane@example.com>",
            "jane@example.com,joe@example.com",
            "jane,@example.com",
            "mailto:jane@example.com",
            "\u{200b}jane@example.com",
            "jane@example.com\u{feff}"
        )]
        text: &str,
    ) {
        assert!(!is_email_address(text));
    }

    #[test]
    fn lengths_end_where_mail_ends() {
        let domain = |label: usize| format!("{}.example", "d".repeat(label));
        assert!(is_email_address(&format!("{}@example.com", "l".repeat(64))));
        assert!(!is_email_address(&format!("{}@example.com", "l".repeat(65))));
        assert!(is_email_address(&format!("jane@{}", domain(63))));
        assert!(!is_email_address(&format!("jane@{}", domain(64))));
        let long = |rest: usize| format!("j@{0}.{0}.{0}.{1}", "d".repeat(60), "e".repeat(rest));
        assert_eq!(long(63).len(), 248);
        assert!(is_email_address(&format!("{}@{}", "l".repeat(7), &long(63)[2..])));
        assert!(!is_email_address(&format!("{}@{}", "l".repeat(8), &long(63)[2..])));
    }

    proptest! {
        #[test]
        fn whatever_passes_has_one_at_and_no_space(text in "[a-z@. \u{e4}\t-]{0,20}") {
            if is_email_address(&text) {
                prop_assert_eq!(text.matches('@').count(), 1);
                prop_assert!(!text.contains(char::is_whitespace));
            }
        }
    }
}

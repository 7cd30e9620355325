//! Parsers for the headers in which proxies name the client: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Both give the chain of hops, client first. A hop without an address is [`None`]: hops left of it cannot be
//! believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hops of a chain, client first.
pub(super) type Hops = Vec<Option<IpAddr>>;

/// Parses the lines of `X-Forwarded-For`, in their order. Empty elements of the list are ignored (RFC 9110, section 5.6.1).
pub(super) fn x_forwarded_for<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Hops {
    let elements = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b','));
    let elements = elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    elements.map(|element| node(str::from_utf8(element).ok()?)).collect()
}

/// Parses the lines of `Forwarded`, in their order. Returns [`None`] when no element has a `for`: the header then says
/// nothing about the client.
///
/// Among elements that do name clients, one without `for` is a hop without an address. So is a line that does not follow
/// the grammar, for example because a quoted string does not end.
pub(super) fn forwarded<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Hops> {
    let mut found = Vec::new();
    for line in lines {
        match elements(line) {
            Some(elements) => found.extend(elements),
            // The number of elements is unknown: the nearest proxy may have added to a line that the client had broken.
            None => found.push(For::Unusable),
        }
    }
    let address = |element: &For| match element {
        For::Address(address) => Some(*address),
        For::Missing | For::Unusable => None,
    };
    found.iter().any(|element| *element != For::Missing).then(|| found.iter().map(address).collect())
}

/// Parameter `for` of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Missing,
    /// `unknown`, an obfuscated name, or malformed.
    Unusable,
    Address(IpAddr),
}

/// Parses the elements of a line. Returns `None` when the line does not follow the grammar.
fn elements(line: &[u8]) -> Option<Vec<For>> {
    let mut rest = Scanner(line);
    let mut hops = Vec::new();
    loop {
        rest.skip_white_space();
        if !matches!(rest.peek(), None | Some(b',')) {
            hops.push(element(&mut rest)?);
        }
        match rest.next() {
            None => return Some(hops),
            Some(b',') => {}
            Some(_) => return None,
        }
    }
}

/// Parses an element: pairs between semicolons, up to a comma or the end.
fn element(rest: &mut Scanner<'_>) -> Option<For> {
    let mut client = For::Missing;
    let mut names = Vec::new();
    loop {
        rest.skip_white_space();
        if !matches!(rest.peek(), None | Some(b',' | b';')) {
            let name = rest.token()?.to_ascii_lowercase();
            rest.expect(b'=')?;
            let value = rest.value()?;
            // A parameter occurs at most once in an element.
            if names.contains(&name) {
                return None;
            }
            if name == b"for" {
                client = str::from_utf8(&value).ok().and_then(node).map_or(For::Unusable, For::Address);
            }
            names.push(name);
            rest.skip_white_space();
        }
        match rest.peek() {
            None | Some(b',') => return Some(client),
            Some(b';') => rest.next(),
            Some(_) => return None,
        };
    }
}

/// Unread bytes of a header's value.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.next();
        }
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        let end = self.0.iter().position(|byte| !is_token(*byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then(|| token.to_vec())
    }

    /// Parses a token or a quoted string. Addresses with colons have to be quoted; some proxies leave the quotation marks out, so
    /// the characters of addresses count as parts of a token here.
    fn value(&mut self) -> Option<Vec<u8>> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let end =
            self.0.iter().position(|byte| !is_token(*byte) && !b":[]".contains(byte)).unwrap_or(self.0.len());
        let (value, rest) = self.0.split_at(end);
        self.0 = rest;
        (!value.is_empty()).then(|| value.to_vec())
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Some(text),
                b'\\' => text.push(self.next()?),
                byte => text.push(byte),
            }
        }
    }
}

/// Returns whether a byte may stand in a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses the address of a node: `203.0.113.9`, `203.0.113.9:4711`, `[2001:db8::1]`, `[2001:db8::1]:4711` and, as
/// `X-Forwarded-For` has it, `2001:db8::1`. A port may be obfuscated (`:_name`). `unknown` and obfuscated names such as
/// `_gateway` are no addresses.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?))
            .then(|| IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

/// Returns whether a text is a port: a number, or an obfuscated name.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hops(hops: &Hops) -> Vec<String> {
        hops.iter().map(|hop| hop.map_or_else(|| "?".to_owned(), |address| address.to_string())).collect()
    }

    #[rstest::rstest]
    #[case(&["for=203.0.113.9"], &["203.0.113.9"])]
    #[case(&["For=\"203.0.113.9\" ; proto=https"], &["203.0.113.9"])]
    #[case(&["for=\"[2001:db8::1]:4711\""], &["2001:db8::1"])]
    #[case(&["for=\"[2001:db8::1]\";by=\"[::1]\", for=192.0.2.1:80"], &["2001:db8::1", "192.0.2.1"])]
    #[case(&["for=\"[::ffff:203.0.113.9]:_port\""], &["203.0.113.9"])]
    #[case(&["for=198.51.100.7;host=\"a,for=203.0.113.9\";proto=https"], &["198.51.100.7"])]
    #[case(&["for=198.51.100.7;host=\"a;for=203.0.113.9\""], &["198.51.100.7"])]
    #[case(&["for=198.51.100.7;host=\"a\\\",for=203.0.113.9\""], &["198.51.100.7"])]
    #[case(&["for=\"2\\03.0.113.9\""], &["203.0.113.9"])]
    #[case(&["for=unknown, for=_gateway, for=\"_gateway:_x\""], &["?", "?", "?"])]
    #[case(&["for=203.0.113.9, proto=https"], &["203.0.113.9", "?"])]
    #[case(&["proto=https", "for=203.0.113.9"], &["?", "203.0.113.9"])]
    #[case(&["for=203.0.113.9;for=198.51.100.7"], &["?"])]
    #[case(&["for=203.0.113.9, , for=198.51.100.7,"], &["203.0.113.9", "198.51.100.7"])]
    #[case(&["for=203.0.113.9", "for=198.51.100.7"], &["203.0.113.9", "198.51.100.7"])]
    // A string that does not end takes the rest of its line along, and nothing of the next.
    #[case(&["for=203.0.113.9;host=\"a", "for=198.51.100.7"], &["?", "198.51.100.7"])]
    #[case(&["for=203.0.113.9 for=198.51.100.7"], &["?"])]
    #[case(&["for = 203.0.113.9"], &["?"])]
    #[case(&["for=\"203.0.113.9\"x"], &["?"])]
    #[case(&["for=203.0.113.9:port"], &["?"])]
    #[case(&[";;for=203.0.113.9;"], &["203.0.113.9"])]
    fn forwarded_lines(#[case] lines: &[&str], #[case] expected: &[&str]) {
        assert_eq!(hops(&forwarded(lines.iter().map(|line| line.as_bytes())).unwrap()), expected);
    }

    #[rstest::rstest]
    #[case(&["proto=https"])]
    #[case(&["host=\"for=203.0.113.9\""])]
    #[case(&["xfor=203.0.113.9", "by=203.0.113.9"])]
    #[case(&["", ";"])]
    fn forwarded_lines_that_say_nothing_about_the_client(#[case] lines: &[&str]) {
        assert_eq!(forwarded(lines.iter().map(|line| line.as_bytes())), None);
    }

    #[rstest::rstest]
    #[case(&["203.0.113.9"], &["203.0.113.9"])]
    #[case(&["203.0.113.9, 198.51.100.7:80 ,[2001:db8::1]:4711,2001:db8::2,[::ffff:192.0.2.1]"], &["203.0.113.9", "198.51.100.7", "2001:db8::1", "2001:db8::2", "192.0.2.1"])]
    #[case(&["203.0.113.9,,", " , 198.51.100.7"], &["203.0.113.9", "198.51.100.7"])]
    #[case(&["", ","], &[])]
    #[case(&["unknown, \"203.0.113.9\", for=203.0.113.9, 203.0.113.9:x, 203.0.113"], &["?", "?", "?", "?", "?"])]
    fn x_forwarded_for_lines(#[case] lines: &[&str], #[case] expected: &[&str]) {
        assert_eq!(hops(&x_forwarded_for(lines.iter().map(|line| line.as_bytes()))), expected);
    }

    #[test]
    fn bytes_that_are_no_text_name_no_address() {
        assert_eq!(
            x_forwarded_for([&b"203.0.113.9\xff, 198.51.100.7"[..]]),
            [None, "198.51.100.7".parse().ok()]
        );
        let line = &b"for=\"\xff\";host=\"\xff\", for=198.51.100.7"[..];
        assert_eq!(forwarded([line]).unwrap(), [None, "198.51.100.7".parse().ok()]);
    }

    /// A reference of another make: replaces quoted strings by placeholders first, and then splits.
    fn reference(line: &str) -> Option<Vec<Option<String>>> {
        let mut strings = Vec::new();
        let mut plain = String::new();
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            if character != '"' {
                plain.push(character);
                continue;
            }
            let mut string = String::new();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => string.push(characters.next()?),
                    other => string.push(other),
                }
            }
            plain.extend(["\u{1}", &strings.len().to_string(), "\u{1}"]);
            strings.push(string);
        }
        let white = [' ', '\t'];
        let mut hops = Vec::new();
        for element in plain.split(',').map(|element| element.trim_matches(white)).filter(|e| !e.is_empty()) {
            let mut found: Option<Option<String>> = None;
            let mut names = std::collections::HashSet::new();
            for pair in
                element.split(';').map(|pair| pair.trim_matches(white)).filter(|pair| !pair.is_empty())
            {
                let (name, value) = pair.split_once('=')?;
                let token = |text: &str, more: &str| {
                    !text.is_empty()
                        && text.chars().all(|c| {
                            c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c) || more.contains(c)
                        })
                };
                let value = match value.strip_prefix('\u{1}').and_then(|rest| rest.strip_suffix('\u{1}')) {
                    Some(index) => strings[index.parse::<usize>().ok()?].clone(),
                    None if token(value, ":[]") => value.to_owned(),
                    None => return None,
                };
                if !token(name, "") || !names.insert(name.to_ascii_lowercase()) {
                    return None;
                }
                if name.eq_ignore_ascii_case("for") {
                    found = Some(Some(value));
                }
            }
            hops.push(found.flatten());
        }
        Some(hops)
    }

    fn line() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "for=",
            "For=",
            "host=",
            "proto=",
            "\"",
            "\\",
            ",",
            ";",
            " ",
            "=",
            "203.0.113.9",
            "[2001:db8::1]",
            ":80",
            "_x",
            "unknown",
            "a",
        ]);
        prop::collection::vec(parts, 0..14).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_line_is_read_as_the_reference_reads_it(line in line()) {
            let expected: Option<Hops> = match reference(&line) {
                Some(values) if values.iter().all(Option::is_none) => None,
                Some(values) => Some(values.into_iter().map(|value| value.as_deref().and_then(node)).collect()),
                None => Some(vec![None]),
            };
            prop_assert_eq!(forwarded([line.as_bytes()]), expected, "{}", line);
        }

        #[test]
        fn a_quoted_host_never_names_the_client(host in "[ -~]{0,40}") {
            let quoted = host.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("for=198.51.100.7;host=\"{quoted}\";proto=https");
            prop_assert_eq!(forwarded([line.as_bytes()]), Some(vec!["198.51.100.7".parse().ok()]));
        }
    }
}

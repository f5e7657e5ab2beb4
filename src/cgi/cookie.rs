//! The cookies of a request (RFC 6265 4.2.1). It knows no cookie's meaning.

/// The values of the cookies that have this name, in the order of the field, without the quotes that may stand around a
/// value. A pair without `=` is a value without a name to browsers, and is passed over.
pub fn values<'a>(cookies: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = cookies.split(|&byte| byte == b';').filter_map(|pair| {
        let end = memchr::memchr(b'=', pair)?;
        Some((pair[..end].trim_ascii(), pair[end + 1..].trim_ascii()))
    });
    let named = pairs.filter(move |(own, _)| *own == name.as_bytes());
    named.map(|(_, value)| match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cookie_has_a_name() {
        let cases: [(&str, &[&str]); 15] = [
            ("session=1", &["1"]),
            ("a=b; session=", &[""]),
            ("a=b;session=x=y; c=d", &["x=y"]),
            (" session =1 ", &["1"]),
            ("session=1; session=2;session=1", &["1", "2", "1"]),
            ("session=\"1\"; session=\"; session=\"\"", &["1", "\"", ""]),
            ("a=\"b; session=1\"", &["1\""]),
            ("session=1;", &["1"]),
            ("", &[]),
            (";;=;", &[]),
            ("session", &[]),
            ("mysession=1", &[]),
            ("a=session=1", &[]),
            ("Session=1", &[]),
            ("a=b; sessions=1", &[]),
        ];
        for (cookies, expected) in cases {
            let found: Vec<&[u8]> = values(cookies.as_bytes(), "session").collect();
            let expected: Vec<&[u8]> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected, "{cookies}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cookies(before in "[ -~;=\"]{0,40}", value in "[!-:<-~]{0,20}", after: Vec<u8>) {
            let mut cookies = format!("{before};name={value};").into_bytes();
            cookies.extend_from_slice(&after);
            let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let expected = quoted.unwrap_or(&value).as_bytes();
            prop_assert!(values(&cookies, "name").any(|found| found == expected));
            let has_none = |found: &[u8]| !found.contains(&b';');
            prop_assert!(values(&cookies, "name").all(has_none));
        }
    }
}

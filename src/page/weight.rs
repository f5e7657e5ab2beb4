//! Weights of header fields that negotiate (RFC 9110 12.4.2).

/// The weight in thousandths. An invalid one counts as 1: the range was named.
pub(super) fn quality<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> u32 {
    let weight = parameters.filter_map(|part| match part {
        [b'q' | b'Q', b'=', weight @ ..] => Some(thousandths(weight).unwrap_or(1000)),
        _ => None,
    });
    weight.last().unwrap_or(1000)
}

fn thousandths(weight: &[u8]) -> Option<u32> {
    let (whole, fraction) = match weight {
        [whole @ b'0'..=b'1'] => (whole, &b""[..]),
        [whole @ b'0'..=b'1', b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = u32::from(whole - b'0') * 1000;
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        thousandths += digit
            .is_ascii_digit()
            .then(|| u32::from(digit - b'0') * unit)?;
    }
    Some(thousandths.min(1000))
}

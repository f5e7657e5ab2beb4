//! The smallest and the largest value of each quantity in an app file. The parsers in `values` enforce them; tests show
//! that they do, and that an app is served at both ends.

/// Every key that is a number, a time, a size, a rate or a load: its smallest and its largest value.
pub const EXTREMES: &[(&str, &str, &str)] = &[
    ("daemon-when-busy", "0", "1000000"),
    ("daemon-when-rate", "0/h", "1000/s"),
    ("daemon-when-load", "0", "1000"),
    ("idle-timeout", "100ms", "8760h"),
    ("min-lifetime", "0ms", "8760h"),
    ("quiet-timeout", "100ms", "8760h"),
    ("min-procs", "0", "1024"),
    ("max-procs", "1", "1024"),
    ("min-idle", "0", "1024"),
    ("max-requests", "1", "4294967295"),
    ("max-rss", "1", "18446744073709551615"),
    ("worker-idle-timeout", "0ms", "8760h"),
    ("cgi-max", "0", "1024"),
    ("queue-size", "0", "1000000"),
    ("queue-timeout", "0ms", "8760h"),
    ("queue-target", "0ms", "8760h"),
    ("start-timeout", "1s", "8760h"),
    ("start-page-after", "1s", "8760h"),
    ("request-timeout", "1s", "8760h"),
    ("request-limit", "1s", "8760h"),
    ("graceful-timeout", "0ms", "8760h"),
    ("header-limit", "4k", "128k"),
    ("body-limit", "1", "18446744073709551615"),
    ("spool-limit", "0", "18446744073709551615"),
    ("overload-when-load", "0", "1000"),
    ("overload-when-pressure", "0", "100"),
    ("socket-mode", "0", "0777"),
];

#[cfg(test)]
mod tests {
    use super::super::settings::TYPES;
    use super::*;

    fn is_accepted(key: &str, value: &str) -> bool {
        super::super::parse("f", format!("{key} = {value}\n").as_bytes()).is_ok()
    }

    #[test]
    fn every_quantity_has_a_row() {
        let is_quantity = |kind: &str| {
            [
                "u32",
                "u64",
                "usize",
                "Duration",
                "Rate",
                "Load",
                "Percentage",
            ]
            .iter()
            .any(|quantity| {
                let or_word = ["Option", "OrAuto"].map(|word| format!("{word}<{quantity}>"));
                kind == *quantity || or_word.iter().any(|named| named == kind)
            })
        };
        let keys = TYPES.iter().filter(|(_, kind)| is_quantity(kind));
        let keys: Vec<&str> = keys.map(|(key, _)| *key).collect();
        let rows: Vec<&str> = EXTREMES.iter().map(|(key, ..)| *key).collect();
        assert_eq!(keys, rows);
    }

    #[test]
    fn each_end_is_accepted_and_nothing_beyond() {
        for (key, least, most) in EXTREMES {
            assert!(is_accepted(key, least), "{key} = {least}");
            assert!(is_accepted(key, most), "{key} = {most}");
            let beyond = match *most {
                "8760h" => "31536000001ms".to_owned(),
                "128k" => "131073".to_owned(),
                "1000/s" => "1001/s".to_owned(),
                "0777" => "1000".to_owned(),
                number => format!("{}", number.parse::<u128>().unwrap() + 1),
            };
            assert!(!is_accepted(key, &beyond), "{key} = {beyond}");
            let short = match *least {
                "100ms" => "99ms",
                "1s" => "999ms",
                "4k" => "4095",
                "1" => "0",
                // No quantity can be written below 0.
                _ => "-1",
            };
            assert!(!is_accepted(key, short), "{key} = {short}");
        }
    }
}

//! Values that are a quantity: times, sizes, rates, counts. Each becomes a type that can't be wrong. It does not know
//! which key a value is for.

use std::time::Duration;

use super::bad_value::BadValue;
use super::words;

/// Requests in a unit of time. At most 1000: the time of each is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u16,
    window: Duration,
}

impl Rate {
    /// The most requests that a rate can count.
    pub const MOST: u16 = 1000;

    /// So many in a minute.
    pub const fn per_minute(count: u16) -> Rate {
        Rate {
            count,
            window: Duration::from_secs(60),
        }
    }

    /// The number of requests, 0 to 1000 ...
    pub fn count(self) -> u16 {
        self.count
    }

    /// ... in the last second, minute or hour.
    pub fn window(self) -> Duration {
        self.window
    }
}

/// A value that is given by hand, or left to what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrAuto<T> {
    /// `auto`
    Auto,
    /// This value.
    Given(T),
}

impl<T: Copy> OrAuto<T> {
    /// `None`: it is left to what is measured.
    pub fn given(self) -> Option<T> {
        match self {
            OrAuto::Auto => None,
            OrAuto::Given(value) => Some(value),
        }
    }
}

/// A load average per core: 0 to 1000, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Load(f64);

impl Load {
    pub(super) const ONE: Load = Load(1.0);

    /// The 1-minute load average divided by the cores.
    pub fn per_core(self) -> f64 {
        self.0
    }
}

/// A share of time in percent: 0 to 100, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percentage(f64);

impl Percentage {
    /// 0 to 100.
    pub fn percent(self) -> f64 {
        self.0
    }
}

pub(super) fn time(value: &str) -> Result<Duration, BadValue> {
    let (number, unit) = number_and_unit(value).ok_or(BadValue::NotATime)?;
    let ms = match unit {
        "" => return Err(BadValue::NoUnit),
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(BadValue::NotATime),
    };
    let total = number
        .and_then(|number| number.checked_mul(ms))
        .ok_or(BadValue::TimeTooLong)?;
    if total > 8760 * 3_600_000 {
        return Err(BadValue::TimeTooLong);
    }
    Ok(Duration::from_millis(total))
}

/// A time that a request or a start may take: at least 1 s.
pub(super) fn time_limit(value: &str) -> Result<Duration, BadValue> {
    let why = "a host that is busy for a moment could not keep it";
    time_from(value, Duration::from_secs(1), "1s", why)
}

/// A time after which a daemon without work exits: at least 100 ms.
pub(super) fn time_to_leave(value: &str) -> Result<Duration, BadValue> {
    let why = "the daemon would exit before the request that it was started for";
    time_from(value, Duration::from_millis(100), "100ms", why)
}

fn time_from(
    value: &str,
    limit: Duration,
    least: &'static str,
    why: &'static str,
) -> Result<Duration, BadValue> {
    match time(value)? {
        time if time.is_zero() => Err(BadValue::NotAboveZero),
        time if time < limit => Err(BadValue::BelowLeast { least, why }),
        time => Ok(time),
    }
}

/// Bytes; `k`, `M` and `G` are powers of 1024.
pub(super) fn size(value: &str) -> Result<u64, BadValue> {
    let (number, unit) = number_and_unit(value).ok_or(BadValue::NotASize)?;
    let bytes: u64 = match unit {
        "" => 1,
        "k" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(BadValue::NotASize),
    };
    number
        .and_then(|number| number.checked_mul(bytes))
        .ok_or(BadValue::TooLarge)
}

/// A size that is a limit.
pub(super) fn size_limit(value: &str) -> Result<u64, BadValue> {
    size(value).and_then(|limit| {
        if limit == 0 {
            Err(BadValue::ZeroLimit)
        } else {
            Ok(limit)
        }
    })
}

/// Enough for a browser's header with some cookies, and for what the web server adds.
const LEAST_HEADER: u64 = 4 << 10;

pub(super) fn header_limit(value: &str) -> Result<usize, BadValue> {
    match size(value)? {
        0 => Err(BadValue::NotAboveZero),
        limit if limit < LEAST_HEADER => Err(BadValue::BelowLeast {
            least: "4k",
            why: "ordinary requests have more",
        }),
        limit => usize::try_from(limit)
            .ok()
            .filter(|&limit| limit <= 128 << 10)
            .ok_or(BadValue::HeaderTooLarge),
    }
}

pub(super) fn rate(value: &str) -> Result<Rate, BadValue> {
    let (number, unit) = number_and_unit(value).ok_or(BadValue::NotARate)?;
    let window = match unit {
        "/s" => 1,
        "/m" => 60,
        "/h" => 3600,
        _ => return Err(BadValue::NotARate),
    };
    let count = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|&count| count <= Rate::MOST);
    Ok(Rate {
        count: count.ok_or(BadValue::RateTooHigh)?,
        window: Duration::from_secs(window),
    })
}

pub(super) fn count(value: &str, least: u32, most: u32) -> Result<u32, BadValue> {
    let number = digits(value)
        .flatten()
        .and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or(BadValue::NotACount { least, most })
}

pub(super) fn load(value: &str) -> Result<Load, BadValue> {
    decimal(value, 1000.0).map(Load).ok_or(BadValue::NotALoad)
}

/// With or without the sign.
pub(super) fn percentage(value: &str) -> Result<Percentage, BadValue> {
    decimal(value.strip_suffix('%').unwrap_or(value), 100.0)
        .map(Percentage)
        .ok_or(BadValue::NotAPercentage)
}

/// Digits, and perhaps more of them behind a point; at most `most`.
fn decimal(value: &str, most: f64) -> Option<f64> {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    digits(whole)?;
    digits(part)?;
    let number: f64 = value.parse().ok()?;
    (0.0..=most).contains(&number).then_some(number)
}

pub(super) fn switch(value: &str) -> Result<bool, BadValue> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(BadValue::NotOneOf(&["on", "off"])),
    }
}

/// The value, or the word `none`.
pub(super) fn or_none<T, E>(
    value: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, E> {
    if words::bare(value) == "none" {
        Ok(None)
    } else {
        read(value).map(Some)
    }
}

/// The value, or the word `auto`.
pub(super) fn or_auto<T, E>(
    value: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<OrAuto<T>, E> {
    if words::bare(value) == "auto" {
        Ok(OrAuto::Auto)
    } else {
        read(value).map(OrAuto::Given)
    }
}

pub(super) fn socket_mode(value: &str) -> Result<u32, BadValue> {
    digits(value).ok_or(BadValue::NotASocketMode)?;
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|&mode| mode <= 0o777)
        .ok_or(BadValue::NotASocketMode)
}

/// The number at the beginning, and what follows it. `None` if it does not begin with digits; the number is `None` if
/// it does not fit a u64.
fn number_and_unit(value: &str) -> Option<(Option<u64>, &str)> {
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    Some((digits(number)?, unit))
}

/// The number if all are digits (`parse` alone would accept `+5`); `Some(None)` if it does not fit a u64.
pub(super) fn digits(value: &str) -> Option<Option<u64>> {
    (!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let ms = |n| Ok(Duration::from_millis(n));
        let cases = [
            ("500ms", ms(500)),
            ("45s", ms(45_000)),
            ("5m", ms(300_000)),
            ("1h", ms(3_600_000)),
            ("0s", ms(0)),
            ("8760h", ms(31_536_000_000)),
            ("8761h", Err(BadValue::TimeTooLong)),
            ("99999999999999999999s", Err(BadValue::TimeTooLong)),
            ("45", Err(BadValue::NoUnit)),
            ("0", Err(BadValue::NoUnit)),
            ("", Err(BadValue::NotATime)),
            ("s", Err(BadValue::NotATime)),
            ("45 s", Err(BadValue::NotATime)),
            ("1.5s", Err(BadValue::NotATime)),
            ("+5s", Err(BadValue::NotATime)),
            ("-5s", Err(BadValue::NotATime)),
            ("5M", Err(BadValue::NotATime)),
            ("1d", Err(BadValue::NotATime)),
        ];
        for (value, expected) in cases {
            assert_eq!(time(value), expected, "{value}");
        }
        assert_eq!(time_limit("0ms"), Err(BadValue::NotAboveZero));
        assert!(time_limit("999ms").is_err());
        assert_eq!(time_limit("1s"), ms(1000));
        assert_eq!(time_to_leave("0s"), Err(BadValue::NotAboveZero));
        assert!(time_to_leave("99ms").is_err());
        assert_eq!(time_to_leave("100ms"), ms(100));
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Ok(0)),
            ("100", Ok(100)),
            ("64k", Ok(65_536)),
            ("2M", Ok(2 << 20)),
            ("1G", Ok(1 << 30)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(BadValue::TooLarge)),
            ("99999999999G", Err(BadValue::TooLarge)),
            ("2m", Err(BadValue::NotASize)),
            ("2MB", Err(BadValue::NotASize)),
            ("k", Err(BadValue::NotASize)),
            ("-1", Err(BadValue::NotASize)),
        ];
        for (value, expected) in cases {
            assert_eq!(size(value), expected, "{value}");
        }
        assert_eq!(size_limit("0k"), Err(BadValue::ZeroLimit));
        assert_eq!(header_limit("128k"), Ok(131_072));
        assert_eq!(header_limit("131073"), Err(BadValue::HeaderTooLarge));
        assert_eq!(header_limit("0"), Err(BadValue::NotAboveZero));
        assert!(header_limit("4095").is_err());
        assert_eq!(header_limit("4k"), Ok(4096));
    }

    #[test]
    fn rates() {
        let rate = |value| super::rate(value).map(|rate| (rate.count(), rate.window().as_secs()));
        assert_eq!(rate("6/m"), Ok((6, 60)));
        assert_eq!(rate("1000/s"), Ok((1000, 1)));
        assert_eq!(rate("0/h"), Ok((0, 3600)));
        assert_eq!(rate("1001/h"), Err(BadValue::RateTooHigh));
        assert_eq!(rate("99999999999999999999/h"), Err(BadValue::RateTooHigh));
        for value in ["6", "6/min", "6 / m", "/m", "1.5/s", "6/d"] {
            assert_eq!(rate(value), Err(BadValue::NotARate), "{value}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(count("16", 1, 1024), Ok(16));
        for value in [
            "0",
            "1025",
            "",
            "+5",
            "-1",
            "1.0",
            "0x10",
            "99999999999999999999",
        ] {
            assert_eq!(
                count(value, 1, 1024),
                Err(BadValue::NotACount {
                    least: 1,
                    most: 1024
                }),
                "{value}"
            );
        }
        for (value, expected) in [("1", 1.0), ("0.75", 0.75), ("1000", 1000.0), ("0", 0.0)] {
            assert_eq!(load(value).map(Load::per_core), Ok(expected));
        }
        for value in [
            "", ".5", "1.", "-1", "+1", "1e3", "NaN", "inf", "1001", "1.2.3",
        ] {
            assert_eq!(load(value), Err(BadValue::NotALoad), "{value}");
        }
        for (value, expected) in [("10", 10.0), ("2.5", 2.5), ("100%", 100.0), ("0", 0.0)] {
            assert_eq!(percentage(value).map(Percentage::percent), Ok(expected));
        }
        for value in ["", "%", "-1", "100.1", "10 %", "10%%", "NaN", "1e1"] {
            assert_eq!(percentage(value), Err(BadValue::NotAPercentage), "{value}");
        }
        assert_eq!(socket_mode("0660"), Ok(0o660));
        assert_eq!(socket_mode("600"), Ok(0o600));
        for value in ["", "0668", "rw", "1777", "+660", "99999999999"] {
            assert_eq!(socket_mode(value), Err(BadValue::NotASocketMode), "{value}");
        }
        assert_eq!(or_none("none # yet", size), Ok(None));
        assert_eq!(or_none("1k", size), Ok(Some(1024)));
        assert_eq!(switch("on"), Ok(true));
        assert_eq!(switch("yes"), Err(BadValue::NotOneOf(&["on", "off"])));
    }

    proptest::proptest! {
        /// What is written within the range is read as the same.
        #[test]
        fn a_quantity_that_is_written_is_read(
            ms in 0..=8760 * 3_600_000_u64,
            bytes: u64,
            (count, unit) in (0..=Rate::MOST, proptest::sample::select(&["s", "m", "h"][..])),
            number in 0..=1_000_000_u32,
            per_core in 0.0..=1000.0,
        ) {
            let written = Duration::from_millis(ms);
            assert_eq!(time(&format!("{ms}ms")), Ok(written));
            let limit = written.max(Duration::from_secs(1));
            assert_eq!(time_limit(&format!("{}ms", limit.as_millis())), Ok(limit));
            assert_eq!(size(&bytes.to_string()), Ok(bytes));
            let read = rate(&format!("{count}/{unit}")).map(|rate| (rate.count(), rate.window().as_secs()));
            let window = match unit { "s" => 1, "m" => 60, _ => 3600 };
            assert_eq!(read, Ok((count, window)));
            assert_eq!(super::count(&number.to_string(), 0, 1_000_000), Ok(number));
            assert_eq!(load(&format!("{per_core}")).map(Load::per_core), Ok(per_core));
        }
    }
}

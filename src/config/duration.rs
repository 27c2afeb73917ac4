//! Durations as text: one whole number and one unit, `250ms`, `2s`, `5m`, `8h`, `1d`.

use std::time::Duration;

use super::diagnostic::Complaint;

/// Units from the longest, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

const EXAMPLES: &str =
    "a duration is a whole number and a unit: \"250ms\", \"2s\", \"5m\", \"8h\", \"1d\"";

/// A duration as the configuration writes it, in the longest unit that leaves no fraction.
/// Anything below a millisecond, which the configuration cannot say, is cut off.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let whole = |&&(_, unit_ms): &&(&str, u64)| ms.is_multiple_of(u128::from(unit_ms));
    let (unit, unit_ms) = UNITS.iter().find(whole).unwrap_or(&("ms", 1));
    format!("{}{unit}", ms / u128::from(*unit_ms))
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, Complaint> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if number.is_empty() {
        let message = format!("is {text:?}, which is no duration");
        return Err(Complaint::new(message).help(EXAMPLES));
    }
    if unit.is_empty() {
        return Err(without_unit(
            &format!("is {text:?}, without a unit"),
            number,
        ));
    }
    let Some(&(_, unit_ms)) = UNITS.iter().find(|(known, _)| *known == unit) else {
        return Err(unknown_unit(text, number, unit));
    };
    let ms = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit_ms));
    ms.map(Duration::from_millis)
        .ok_or_else(|| Complaint::new(format!("is {text:?}, which is beyond counting")))
}

/// A number without a unit: seconds are what most programs mean by one.
pub(super) fn without_unit(predicate: &str, number: &str) -> Complaint {
    Complaint::new(predicate).help(format!("add a unit: \"{number}s\" for seconds"))
}

fn unknown_unit(text: &str, number: &str, unit: &str) -> Complaint {
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => Some("d"),
        "h" | "hr" | "hour" | "hours" => Some("h"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "ms" | "msec" | "millis" | "milliseconds" => Some("ms"),
        _ => None,
    };
    let complaint = Complaint::new(format!("is {text:?}, which is no duration"));
    match meant {
        Some(unit) => complaint.help(format!("write \"{number}{unit}\"")),
        None => complaint.help(EXAMPLES),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_is_understood() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("2s", 2000),
            ("5m", 300_000),
            ("8h", 28_800_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms));
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn what_is_no_duration_says_how_to_write_one() {
        for (text, message, help) in [
            (
                "30",
                "is \"30\", without a unit",
                "add a unit: \"30s\" for seconds",
            ),
            ("2 s", "is \"2 s\", which is no duration", "write \"2s\""),
            ("5min", "is \"5min\", which is no duration", "write \"5m\""),
            ("3H", "is \"3H\", which is no duration", "write \"3h\""),
            ("1.5s", "is \"1.5s\", which is no duration", EXAMPLES),
            ("1m30s", "is \"1m30s\", which is no duration", EXAMPLES),
            ("-1s", "is \"-1s\", which is no duration", EXAMPLES),
            ("", "is \"\", which is no duration", EXAMPLES),
        ] {
            let complaint = parse_duration(text).unwrap_err();
            assert_eq!(complaint.message, message);
            assert_eq!(complaint.help.as_deref(), Some(help));
        }
    }

    #[test]
    fn a_number_beyond_counting_is_refused() {
        assert!(parse_duration("99999999999999999999s").is_err());
        assert!(parse_duration("18446744073709551615d").is_err());
    }

    proptest! {
        #[test]
        fn a_formatted_duration_is_read_back(ms in 0..u64::from(u32::MAX)) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
    }
}

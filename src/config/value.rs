//! Readers of single values: a TOML value in, what it means out, or what is wrong with it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use toml::de::DeValue;

use super::bounds;
use super::diagnostic::Complaint;
use super::duration::{format_duration, parse_duration, without_unit};
use super::schema::nearest;
use crate::tls::ciphers;
use crate::tls::names::Pattern;

type Read<T> = Result<T, Complaint>;

pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
            Err(mismatch(value, "`true` or `false`").help("leave the quotes out"))
        }
        _ => Err(mismatch(value, "`true` or `false`")),
    }
}

/// Text that is not empty and fits in one line.
pub(super) fn text<'a>(value: &'a DeValue<'_>) -> Read<&'a str> {
    let DeValue::String(text) = value else {
        return Err(mismatch(value, "a string").help("put it in quotes"));
    };
    if text.is_empty() {
        return Err(Complaint::new("is empty"));
    }
    if text.contains(char::is_control) {
        return Err(Complaint::new("contains control characters"));
    }
    Ok(text)
}

/// A whole number within `range`, which `T` can hold.
pub(super) fn integer<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let (low, high) = range.clone().into_inner();
        let wanted = format!("a whole number from {low} to {high}");
        let DeValue::Integer(integer) = value else {
            let complaint = mismatch(value, &wanted);
            let quoted = value.as_str().is_some_and(|t| t.parse::<u64>().is_ok());
            return Err(match quoted {
                true => complaint.help("leave the quotes out"),
                false => complaint,
            });
        };
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|n| range.contains(n))
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| Complaint::new(format!("is {integer}, but takes {wanted}")))
    }
}

/// A duration within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let duration = match value {
            DeValue::String(text) => parse_duration(text)?,
            DeValue::Integer(number) => {
                let predicate = format!("is {number}, without a unit");
                return Err(without_unit(&predicate, number.as_str()));
            }
            _ => return Err(mismatch(value, "a duration, like \"2s\"")),
        };
        if range.contains(&duration) {
            return Ok(duration);
        }
        let [is, low, high] = [duration, *range.start(), *range.end()].map(format_duration);
        let message = format!("is \"{is}\", but takes \"{low}\" to \"{high}\"");
        Err(Complaint::new(message))
    }
}

/// A timeout: never zero.
pub(super) fn timeout(value: &DeValue<'_>) -> Read<Duration> {
    duration(bounds::TIMEOUT_MIN..=bounds::DURATION_MAX)(value)
}

/// How long something may still go on: zero is "not at all".
pub(super) fn grace(value: &DeValue<'_>) -> Read<Duration> {
    duration(Duration::ZERO..=bounds::DURATION_MAX)(value)
}

/// For keepalive, which the kernel counts in seconds.
pub(super) fn seconds(value: &DeValue<'_>) -> Read<Duration> {
    let duration = duration(bounds::KEEPALIVE)(value)?;
    if duration.subsec_nanos() == 0 {
        return Ok(duration);
    }
    let message = format!(
        "is \"{}\", but takes whole seconds",
        format_duration(duration)
    );
    Err(Complaint::new(message).help(format!("write \"{}s\"", duration.as_secs())))
}

/// A name: a metric label and a log field.
pub(super) fn name(value: &DeValue<'_>) -> Read<String> {
    let DeValue::String(name) = value else {
        return Err(mismatch(value, "a name").help("put it in quotes"));
    };
    if !bounds::NAME_CHARS.contains(&name.chars().count()) {
        let (low, high) = bounds::NAME_CHARS.into_inner();
        let message = format!("has {} characters", name.chars().count());
        return Err(Complaint::new(message).help(format!("a name has {low} to {high}")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name.chars().find(|&c| !allowed(c)) {
        None => Ok(name.to_string()),
        Some(c) => {
            let complaint = Complaint::new(format!("is {name:?}, which has {c:?} in it"));
            Err(complaint.help("a name consists of A-Z a-z 0-9 _ . -"))
        }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let known = || words.iter().map(|&(word, _)| word);
        let quoted: Vec<_> = known().map(|word| format!("\"{word}\"")).collect();
        let wanted = match quoted.split_last() {
            Some((last, [])) => format!("{last} only"),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => unreachable!("an enumeration has a value"),
        };
        let DeValue::String(text) = value else {
            return Err(mismatch(value, &wanted));
        };
        if let Some(&(_, meant)) = words.iter().find(|(word, _)| word == text) {
            return Ok(meant);
        }
        let complaint = Complaint::new(format!("is {text:?}, but takes {wanted}"));
        Err(match nearest(text, known()) {
            Some(word) => complaint.help(format!("did you mean \"{word}\"?")),
            None => complaint,
        })
    }
}

/// The path of a file.
pub(super) fn file_path(value: &DeValue<'_>) -> Read<PathBuf> {
    let path = text(value)?;
    match path.ends_with('/') {
        true => Err(Complaint::new(format!("is {path:?}, which is a directory"))),
        false => Ok(PathBuf::from(path)),
    }
}

/// The name of an account.
pub(super) fn account(value: &DeValue<'_>) -> Read<String> {
    let account = text(value)?;
    let (count, max) = (account.chars().count(), bounds::ACCOUNT_CHARS_MAX);
    match count > max {
        true => Err(Complaint::new(format!(
            "has {count} characters, but takes at most {max}"
        ))),
        false => Ok(account.to_owned()),
    }
}

/// The name of an environment variable.
pub(super) fn variable(value: &DeValue<'_>) -> Read<String> {
    let name = text(value)?;
    match name.contains('=') {
        true => {
            let complaint = Complaint::new("has an equals sign in it");
            Err(complaint.help("name the variable; its value stays in the environment"))
        }
        false => Ok(name.to_owned()),
    }
}

/// A hash of a password. What is wrong with one is not shown: it may be the password itself.
pub(super) fn native_hash(value: &DeValue<'_>) -> Read<[u8; 20]> {
    let digits = text(value)?
        .strip_prefix('*')
        .unwrap_or_default()
        .as_bytes();
    let mut hash = [0; 20];
    if digits.len() == 2 * hash.len() && digits.iter().all(u8::is_ascii_hexdigit) {
        let digit = |byte: u8| char::from(byte).to_digit(16).map_or(0, |digit| digit as u8);
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        return Ok(hash);
    }
    let complaint = Complaint::new("is not \"*\" and 40 hexadecimal digits");
    Err(complaint.help("copy it from `SHOW CREATE USER` or mysql.user"))
}

/// The name of an application protocol.
pub(super) fn alpn(value: &DeValue<'_>) -> Read<String> {
    let protocol = text(value)?;
    let (length, max) = (protocol.len(), bounds::ALPN_BYTES_MAX);
    match length > max {
        true => Err(Complaint::new(format!(
            "has {length} bytes, but takes at most {max}"
        ))),
        false => Ok(protocol.to_owned()),
    }
}

/// A host name, or a wildcard for all below one.
pub(super) fn name_pattern(value: &DeValue<'_>) -> Read<Pattern> {
    let text = text(value)?;
    Pattern::parse(text).map_err(|_| {
        let complaint = Complaint::new(format!("is {text:?}, which is no host name"));
        complaint.help("write \"www.example.org\", or \"*.example.org\" for all below it")
    })
}

/// A name that a server has a certificate for: of a host, or an IP address.
pub(super) fn server_name(value: &DeValue<'_>) -> Read<ServerName<'static>> {
    let text = text(value)?;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    ServerName::try_from(name).map_err(|_| {
        let message = format!("is {text:?}, which is neither a host name nor an IP address");
        Complaint::new(message).help("write it without a port, like \"app.example.org\"")
    })
}

/// A cipher suite: its IANA name.
pub(super) fn cipher_suite(value: &DeValue<'_>) -> Read<&'static str> {
    let text = text(value)?;
    if let Some(suite) = ciphers::find(text) {
        return Ok(ciphers::name(suite));
    }
    let complaint = Complaint::new(format!("is {text:?}, and there is no such cipher suite"));
    Err(match nearest(text, ciphers::names()) {
        Some(near) => complaint.help(format!("did you mean \"{near}\"?")),
        None => {
            let names: Vec<_> = ciphers::names().collect();
            complaint.help(format!("there are {}", names.join(", ")))
        }
    })
}

/// The path of an HTTP request.
pub(super) fn http_path(value: &DeValue<'_>) -> Read<String> {
    let path = http_field(value)?;
    if path.starts_with('/') {
        return Ok(path);
    }
    let complaint = Complaint::new(format!("is {path:?}, but a path begins with a slash"));
    Err(complaint.help(format!("write \"/{path}\"")))
}

/// Something that may stand in the head of an HTTP request without breaking it.
pub(super) fn http_field(value: &DeValue<'_>) -> Read<String> {
    let field = text(value)?;
    if field.len() > bounds::HTTP_FIELD_BYTES_MAX {
        let max = bounds::HTTP_FIELD_BYTES_MAX;
        let message = format!("has {} bytes, but takes at most {max}", field.len());
        return Err(Complaint::new(message));
    }
    match field.chars().find(|c| !c.is_ascii_graphic()) {
        None => Ok(field.to_owned()),
        Some(c) => {
            let complaint = Complaint::new(format!("is {field:?}, which has {c:?} in it"));
            Err(complaint.help("encode it with %"))
        }
    }
}

/// Status codes: `404`, `"404"` or `"200-399"`.
pub(super) fn status_range(value: &DeValue<'_>) -> Read<(u16, u16)> {
    let wanted = "a status or a range of them, like 204 or \"200-399\"";
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        _ => return Err(mismatch(value, wanted)),
    };
    let (low, high) = text.split_once('-').unwrap_or((&text, &text));
    let digits = |text: &str| {
        let text = text.trim();
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (Some(low), Some(high)) = (digits(low), digits(high)) else {
        return Err(Complaint::new(format!("is {text:?}, but takes {wanted}")));
    };
    if !bounds::STATUS.contains(&low) || !bounds::STATUS.contains(&high) {
        let (least, most) = bounds::STATUS.into_inner();
        let message = format!("is {text:?}, but a status is from {least} to {most}");
        return Err(Complaint::new(message));
    }
    if low > high {
        let complaint = Complaint::new(format!("is {text:?}, which covers nothing"));
        return Err(complaint.help(format!("write \"{high}-{low}\"")));
    }
    Ok((low, high))
}

/// A value of the wrong type.
pub(super) fn mismatch(value: &DeValue<'_>, wanted: &str) -> Complaint {
    Complaint::new(format!("is {}, but takes {wanted}", describe(value)))
}

/// The type of a value, with its article.
pub(super) fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

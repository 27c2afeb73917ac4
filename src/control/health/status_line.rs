//! The first line of an HTTP answer, RFC 9112, section 4. Bytes in, status out.

/// The bytes are not the beginning of an HTTP/1 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHttp;

/// The status in the first line; `None`: there is not enough of it yet.
pub(super) fn parse(answer: &[u8]) -> Result<Option<u16>, NotHttp> {
    const FORM: &[u8] = b"HTTP/1.d ddd";
    let fits = |(&byte, &form): (&u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        form => byte == form,
    };
    if !answer.iter().zip(FORM).all(fits) {
        return Err(NotHttp);
    }
    match answer.get(FORM.len()) {
        None => Ok(None),
        Some(b' ' | b'\r' | b'\n') => {
            let digits = &answer[FORM.len() - 3..FORM.len()];
            Ok(Some(digits.iter().fold(0, |status, digit| {
                status * 10 + u16::from(digit - b'0')
            })))
        }
        Some(_) => Err(NotHttp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_as_soon_as_it_is_there() {
        let line = b"HTTP/1.1 204 No Content\r\n";
        for len in 0..=12 {
            assert_eq!(parse(&line[..len]), Ok(None), "{len} bytes");
        }
        for len in 13..line.len() {
            assert_eq!(parse(&line[..len]), Ok(Some(204)));
        }
        assert_eq!(parse(b"HTTP/1.0 503\r\n"), Ok(Some(503)));
    }

    #[test]
    fn what_is_not_http_is_refused_at_its_first_wrong_byte() {
        for wrong in [
            "SSH-2.0-OpenSSH",
            "HTTP/2 200 OK",
            "HTTP/1.1 20x OK",
            "HTTP/1.1 2000 OK",
        ] {
            assert_eq!(parse(wrong.as_bytes()), Err(NotHttp), "{wrong}");
        }
    }
}

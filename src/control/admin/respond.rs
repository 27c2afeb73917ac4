//! From a request to an answer.

use std::fmt::Write;
use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};

use super::Admin;
use crate::control::status::Status;
use crate::control::{metrics, readiness};

pub(super) type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";

/// The page may load its own style and script and ask this port, and nothing else in the world.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What there is to ask for.
#[derive(Clone, Copy)]
enum Resource {
    Live,
    Metrics,
    Page,
    Ready,
    Script,
    Status,
    Style,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/api/status" => Self::Status,
            "/dashboard.css" => Self::Style,
            "/dashboard.js" => Self::Script,
            "/live" => Self::Live,
            "/metrics" => Self::Metrics,
            "/ready" => Self::Ready,
            _ => return None,
        })
    }
}

/// Answers one request.
pub(super) async fn respond<B>(admin: &Admin, request: &Request<B>) -> Answer {
    let mut answer = match route(request) {
        Ok(resource) => tell(admin, resource).await,
        Err(refusal) => refuse(refusal),
    };
    let headers = answer.headers_mut();
    let always: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Method,
    Misdirected,
    Unknown,
}

fn route<B>(request: &Request<B>) -> Result<Resource, Refusal> {
    if !is_addressed_to_us(request.headers()) {
        return Err(Refusal::Misdirected);
    }
    let resource = Resource::at(request.uri().path()).ok_or(Refusal::Unknown)?;
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Err(Refusal::Method);
    }
    Ok(resource)
}

fn refuse(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Method => {
            let hint = "this port only tells: use GET or HEAD\n";
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, hint);
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            answer
        }
        Refusal::Misdirected => {
            let hint = "this port answers to localhost and to IP addresses, not to other names\n";
            text(StatusCode::MISDIRECTED_REQUEST, hint)
        }
        Refusal::Unknown => {
            let hint = "not here: try /, /metrics, /api/status, /ready or /live\n";
            text(StatusCode::NOT_FOUND, hint)
        }
    }
}

/// Whether the client knows whom it talks to. A page from elsewhere, whose name was made to point
/// here, asks for its own name: DNS rebinding.
fn is_addressed_to_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else {
        return true;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

async fn tell(admin: &Admin, resource: Resource) -> Answer {
    let registry = &admin.registry;
    match resource {
        Resource::Page => page("text/html; charset=utf-8", include_str!("page/index.html")),
        Resource::Style => page(
            "text/css; charset=utf-8",
            include_str!("page/dashboard.css"),
        ),
        Resource::Script => page(
            "text/javascript; charset=utf-8",
            include_str!("page/dashboard.js"),
        ),
        Resource::Ready => verdict("ready", &readiness::not_ready(registry).await),
        Resource::Live => verdict("alive", &readiness::not_alive(registry).await),
        Resource::Metrics => {
            let ready = readiness::not_ready(registry).await.is_empty();
            let text = metrics::render(&registry.borrow(), &admin.host, ready);
            answer(StatusCode::OK, metrics::CONTENT_TYPE, text)
        }
        Resource::Status => {
            let not_ready = readiness::not_ready(registry).await;
            let status = Status::new(&registry.borrow(), &admin.host, not_ready);
            let json = serde_json::to_vec(&status).expect("plain data becomes JSON");
            answer(StatusCode::OK, "application/json", json)
        }
    }
}

fn page(content_type: &'static str, text: &'static str) -> Answer {
    answer(StatusCode::OK, content_type, text)
}

fn verdict(good: &str, against: &[String]) -> Answer {
    if against.is_empty() {
        return text(StatusCode::OK, &format!("{good}\n"));
    }
    let mut why = format!("not {good}\n");
    for reason in against {
        writeln!(why, "{reason}").expect("a String takes all that is written to it");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, &why)
}

fn text(status: StatusCode, text: &str) -> Answer {
    answer(status, TEXT, text.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str, host: Option<&str>) -> StatusCode {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        match route(&request.body(()).unwrap()) {
            Ok(_) => StatusCode::OK,
            Err(refusal) => refuse(refusal).status(),
        }
    }

    #[test]
    fn only_known_paths_are_told_and_only_by_get_and_head() {
        for path in ["/", "/metrics", "/api/status", "/ready?verbose=1", "/live"] {
            assert_eq!(status(Method::GET, path, None), StatusCode::OK, "{path}");
            assert_eq!(status(Method::HEAD, path, None), StatusCode::OK, "{path}");
            assert_eq!(
                status(Method::POST, path, None),
                StatusCode::METHOD_NOT_ALLOWED
            );
        }
        for path in ["/metrics/", "/api", "/../etc/passwd", "/%2e"] {
            assert_eq!(
                status(Method::GET, path, None),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_refused() {
        for host in [
            "localhost:9900",
            "LOCALHOST",
            "127.0.0.1:9900",
            "[::1]:9900",
            "::1",
        ] {
            let expected = if host == "::1" { 421 } else { 200 };
            assert_eq!(
                status(Method::GET, "/metrics", Some(host)).as_u16(),
                expected,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "",
            "@",
        ] {
            let status = status(Method::GET, "/metrics", Some(host));
            assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host:?}");
        }
    }
}

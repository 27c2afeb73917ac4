//! A browser gets a page of nginx through a listener at which TLS ends, and shows it as it is.

mod support;

use support::{Authority, Balancer, Chromium, Config, Nginx, SITE, Site};

const WHITE: [u8; 3] = [255, 255, 255];

/// Of the four quarters of the picture, from its top left corner on.
const COLORS: [[u8; 3]; 4] = [[208, 32, 32], [32, 160, 64], [32, 64, 208], [240, 200, 16]];

/// Pixels along each side of the picture.
const SIDE: usize = 200;

/// A page with the picture in its top left corner, and nothing else.
const PAGE: &str = "<!DOCTYPE html><body style=\"margin:0;background:white\">\
                    <img src=picture style=\"display:block\">";

/// A picture with a quarter of each colour, uncompressed: about 120 kB, of which none may be lost.
fn picture() -> Vec<u8> {
    let row = |left: [u8; 3], right: [u8; 3]| {
        let pixel = |[red, green, blue]: [u8; 3]| [blue, green, red];
        [pixel(left).repeat(SIDE / 2), pixel(right).repeat(SIDE / 2)].concat()
    };
    let [a, b, c, d] = COLORS;
    let bottom_up = [row(c, d).repeat(SIDE / 2), row(a, b).repeat(SIDE / 2)].concat();
    // A BMP's two headers: length, where the pixels are; 40 bytes, the size, planes, bits.
    let mut bmp = b"BM".to_vec();
    for number in [54 + bottom_up.len(), 0, 54, 40, SIDE, SIDE] {
        bmp.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    bmp.extend([1, 0, 24, 0]);
    bmp.extend([0; 24]);
    [bmp, bottom_up].concat()
}

#[test]
fn a_browser_shows_a_page_as_it_is_over_both_versions_of_http() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let nginx = Nginx::with(&[Site::Plain, Site::Http2]);
    nginx.add_file("page.html", PAGE.as_bytes());
    nginx.add_file("picture", &picture());
    let [plain, http2] = nginx.addresses()[..] else {
        panic!("two servers")
    };
    let http1 = Config::to([plain]).terminate(&identity);
    let both = http1
        .clone()
        .listener_tls("alpn = [\"h2\", \"http/1.1\"]")
        .tls_route("alpn = [\"h2\"]", "http2")
        .and_pool("http2", [http2]);
    let browser = Chromium::new().trusting(&identity);
    for (config, pool) in [(http1, "web"), (both, "http2")] {
        let balancer = Balancer::start(&config);
        let url = format!("https://{SITE}:{}/page.html", balancer.address().port());
        let shown = browser.show(&url);
        let quarter = [(50, 50), (150, 50), (50, 150), (150, 150)];
        assert_eq!(quarter.map(|(x, y)| shown.at(x, y)), COLORS, "from {pool}");
        for color in COLORS {
            assert_eq!(shown.count(color), SIDE * SIDE / 4, "{color:?} from {pool}");
        }
        assert_eq!(shown.count(WHITE), shown.pixels() - SIDE * SIDE);
        let metrics = balancer.metrics();
        let opened = "ringway_server_sessions_opened_total";
        assert!(metrics.sum(opened, &[("pool", pool)]) > 0.0);
        let all = metrics.sum(opened, &[]);
        assert_eq!(metrics.sum(opened, &[("pool", pool)]), all, "{pool} alone");
    }
}

#[test]
fn a_browser_that_does_not_believe_the_certificate_shows_nothing_of_the_page() {
    let authority = Authority::new();
    let nginx = Nginx::start(1);
    nginx.add_file("page.html", PAGE.as_bytes());
    nginx.add_file("picture", &picture());
    let config = Config::to(nginx.addresses()).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let url = format!("https://{SITE}:{}/page.html", balancer.address().port());
    let other = authority.issue(&["other.example"]);
    if let Some(shown) = Chromium::new().trusting(&other).try_show(&url) {
        assert_eq!(COLORS.map(|color| shown.count(color)), [0; 4]);
    }
    let metrics = balancer.metrics();
    assert!(metrics.opened() > 0.0, "it was here");
    let asked = metrics.sum("ringway_bytes_received_total", &[("direction", "in")]);
    assert_eq!(asked, 0.0, "and has asked for nothing");
}

#[test]
fn a_browser_shows_the_status_page() {
    let authority = Authority::new();
    let nginx = Nginx::start(1);
    let identity = authority.issue(&[SITE]);
    let config = Config::to(nginx.addresses()).terminate(&identity);
    let _balancer = Balancer::start(&config);
    let url = format!("http://{}/", config.admin_address());
    let browser = Chromium::new();
    // Written by its script, from what the balancer tells it.
    let page = browser.dump(&url);
    for text in [
        &*nginx.addresses()[0].to_string(),
        identity.certificate_file.to_str().unwrap(),
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    let shown = browser.show(&url);
    let background = shown.at(1, 1);
    let ink = shown.pixels() - shown.count(background);
    assert!(
        ink > shown.pixels() / 100,
        "{ink} pixels are not background"
    );
}

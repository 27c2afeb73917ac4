//! A browser without a screen: what it makes of a page.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::authority::Identity;
use super::tls::SITE;
use super::tools::{missing, text};

/// How large a page is shown.
const WINDOW: [usize; 2] = [400, 300];

/// A browser that has never been anywhere and believes nobody, apart from whom it is told to.
#[derive(Debug)]
pub(crate) struct Chromium {
    arguments: Vec<String>,
}

/// What it shows.
#[derive(Debug)]
pub(crate) struct Picture {
    width: usize,
    rgb: Vec<u8>,
}

impl Chromium {
    /// One for which [`SITE`] is this machine, and nothing else is anywhere.
    pub(crate) fn new() -> Self {
        let rules = format!("MAP {SITE} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
        Self {
            arguments: vec![format!("--host-resolver-rules={rules}")],
        }
    }

    /// Believes whoever has the key of this certificate, whoever has signed it.
    pub(crate) fn trusting(mut self, identity: &Identity) -> Self {
        let pins = public_key_pin(&identity.certificate_file);
        let argument = format!("--ignore-certificate-errors-spki-list={pins}");
        self.arguments.push(argument);
        self
    }

    /// How it shows a page.
    #[track_caller]
    pub(crate) fn show(&self, url: &str) -> Picture {
        self.try_show(url)
            .unwrap_or_else(|| panic!("no screenshot of {url}"))
    }

    /// How it shows a page, if it does: of some errors it makes no picture.
    #[track_caller]
    pub(crate) fn try_show(&self, url: &str) -> Option<Picture> {
        let directory = TempDir::with_prefix("ringway-test-screenshot-").unwrap();
        let file = directory.path().join("page.png");
        self.run(&format!("--screenshot={}", file.display()), url);
        file.exists().then(|| Picture::read(&file))
    }

    /// What a page is once its scripts have run, as HTML.
    #[track_caller]
    pub(crate) fn dump(&self, url: &str) -> String {
        self.run("--dump-dom", url)
    }

    #[track_caller]
    fn run(&self, action: &str, url: &str) -> String {
        let profile = TempDir::with_prefix("ringway-test-chromium-").unwrap();
        let [width, height] = WINDOW;
        let output = Command::new("timeout")
            .args(["--kill-after=5", "60", "chromium", "--headless"])
            // Its sandbox does not work for root, and it is only shown what is ours.
            .args(["--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--hide-scrollbars"])
            // Scripts get so many milliseconds, which pass when nothing is loading.
            .arg("--virtual-time-budget=3000")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},{height}"))
            .args(&self.arguments)
            .args([action, url])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| missing("chromium", &error));
        assert!(output.status.success(), "chromium {url}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Picture {
    #[track_caller]
    fn read(png: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pixels.py");
        let output = Command::new("python3")
            .arg(script)
            .arg(png)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| missing("python3", &error));
        assert!(output.status.success(), "{}", text(&output));
        let line = output.stdout.iter().position(|&byte| byte == b'\n');
        let (size, rgb) = output.stdout.split_at(line.unwrap() + 1);
        let size = String::from_utf8_lossy(size);
        let width = size.split(' ').next().unwrap().parse().unwrap();
        Self {
            width,
            rgb: rgb.to_vec(),
        }
    }

    /// The colour at a place.
    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let start = 3 * (y * self.width + x);
        self.rgb[start..start + 3].try_into().unwrap()
    }

    /// How many pixels have this colour.
    pub(crate) fn count(&self, color: [u8; 3]) -> usize {
        let pixels = self.rgb.chunks_exact(3);
        pixels.filter(|pixel| **pixel == color).count()
    }

    /// How many there are.
    pub(crate) fn pixels(&self) -> usize {
        self.rgb.len() / 3
    }
}

/// The hash of a certificate's public key, in base64.
#[track_caller]
fn public_key_pin(certificate: &Path) -> String {
    let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | \
                  openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(certificate)
        .output()
        .unwrap();
    let pin = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(pin.len(), 44, "{}", text(&output));
    pin
}

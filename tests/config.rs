//! The files that come with the project, through the door that `ringway check` uses.

use std::fs;
use std::path::{Path, PathBuf};

use ringway::config::{LoadError, load};

#[test]
fn the_example_loads_without_a_warning() {
    let (config, warnings) = load(&root().join("config.example.toml")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listeners[0].name, "web");
    assert_eq!(config.pools[0].servers.len(), 2);
}

#[test]
fn every_file_of_the_fuzzers_corpus_loads_or_tells_why_not() {
    let mut refused = 0;
    for entry in fs::read_dir(root().join("fuzz/corpus/config")).unwrap() {
        let path = entry.unwrap().path();
        let Err(error) = load(&path) else {
            continue;
        };
        let LoadError::Invalid(errors) = &error else {
            panic!("{error}");
        };
        refused += 1;
        let lines = fs::read(&path)
            .unwrap()
            .split(|&byte| byte == b'\n')
            .count();
        for error in errors {
            assert!(error.position.line as usize <= lines, "{error}");
            let place = format!("{}:{}:", path.display(), error.position.line);
            assert!(error.to_string().starts_with(&place), "{error}");
        }
        assert!(error.to_string().starts_with(&path.display().to_string()));
    }
    assert!(refused > 0);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

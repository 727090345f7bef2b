//! What the compiler does not check of the house's rules. Prints the longest files; fails on none of them.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rust_files(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The text without its test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

#[test]
fn faces_do_not_import_faces() {
    let faces = ["arm", "authorize", "entra", "graph", "key_vault"];
    for face in faces {
        for (path, text) in rust_files(&root().join("crates/wire/src").join(face)) {
            for other in faces.iter().chain(&["local"]).filter(|other| **other != face) {
                assert!(
                    !text.contains(&format!("crate::{other}")),
                    "{} imports {other}",
                    path.display()
                );
            }
        }
    }
    for (path, text) in rust_files(&root().join("crates/wire/src/local")) {
        let own_door = ["imds", "app_service"]
            .iter()
            .filter(|face| path.ends_with(format!("{face}.rs")))
            .count();
        let named = [
            "super::imds",
            "super::app_service",
            "crate::entra",
            "crate::arm",
            "crate::graph",
            "crate::key_vault",
        ];
        assert!(
            own_door == 0 || named.iter().all(|name| !text.contains(name)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_domain_meets_no_outside_world() {
    let outside = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "tokio::net",
        "tokio::time",
        "tokio::fs",
        "hyper",
        "axum",
        "rusqlite",
        "UtcDateTime::now",
        "SystemTime",
        "Instant::now",
        "println!",
    ];
    let is_test_module = |path: &Path| path.to_string_lossy().contains("/rbac/oracle/");
    for (path, text) in rust_files(&root().join("crates/domain/src")) {
        for word in outside.into_iter().filter(|_| !is_test_module(&path)) {
            assert!(!production(&text).contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn faces_do_not_touch_the_store() {
    for (path, text) in rust_files(&root().join("crates/wire/src")) {
        assert!(
            !text.contains("domain::store") && !text.contains("dyn Store"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_lives_there() {
    for (path, text) in rust_files(&root().join("crates")) {
        assert!(text.starts_with("//!"), "{} has no header", path.display());
    }
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["#[ig", "nore"], ["todo", "!("], ["unimplemented", "!("]]
            .map(|pair| pair.concat());
    for (path, text) in rust_files(&root().join("crates")) {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has {mark}", path.display());
        }
    }
}

#[test]
fn only_crypto_names_cryptographic_libraries() {
    for member in ["domain", "store", "wire", "host-agent", "keycard"] {
        let manifest =
            std::fs::read_to_string(root().join("crates").join(member).join("Cargo.toml")).unwrap();
        for library in ["aws-lc-rs", "rcgen", "x509-parser", "ring", "rsa"] {
            assert!(
                !manifest.lines().any(|line| line.starts_with(library)),
                "{member} depends on {library}"
            );
        }
    }
}

#[test]
fn the_longest_files_are_shown() {
    let mut lengths: Vec<(usize, PathBuf)> = rust_files(&root().join("crates"))
        .into_iter()
        .map(|(path, text)| (production(&text).lines().count(), path))
        .collect();
    lengths.sort();
    for (lines, path) in lengths.iter().rev().take(8) {
        println!("{lines:5} {}", path.display());
    }
}

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! Finds libpeerbar: in PEERBAR_LIB_DIR, or by pkg-config. With PEERBAR_STATIC=1 it is linked
//! statically.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PEERBAR_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PEERBAR_STATIC");
    println!("cargo:rerun-if-changed=build.rs");
    let fixed = env::var("PEERBAR_STATIC").is_ok_and(|value| value == "1");
    if let Ok(dir) = env::var("PEERBAR_LIB_DIR") {
        println!("cargo:rustc-link-search=native={dir}");
        println!("cargo:rustc-link-lib={}peerbar", if fixed { "static=" } else { "" });
        return;
    }
    let mut command = Command::new("pkg-config");
    command.arg("--libs").args(fixed.then_some("--static")).arg("libpeerbar");
    let output = command.output().expect("pkg-config runs; or set PEERBAR_LIB_DIR");
    assert!(
        output.status.success(),
        "pkg-config does not find libpeerbar: install it, or set PEERBAR_LIB_DIR"
    );
    // The library's own directory may be a default one, which pkg-config does not print.
    println!("cargo:rustc-link-lib={}peerbar", if fixed { "static=" } else { "" });
    if fixed {
        let dir = Command::new("pkg-config").args(["--variable=libdir", "libpeerbar"]).output();
        let dir = String::from_utf8(dir.expect("pkg-config runs").stdout).expect("a path");
        println!("cargo:rustc-link-search=native={}", dir.trim());
    }
    for word in String::from_utf8(output.stdout).expect("options").split_whitespace() {
        if let Some(dir) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={dir}");
        } else if let Some(name) = word.strip_prefix("-l") {
            if name != "peerbar" {
                println!("cargo:rustc-link-lib={name}");
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//! Links the lab's drivers: PEERBAR_LAB_DIR has liblab.a.

fn main() {
    println!("cargo:rerun-if-env-changed=PEERBAR_LAB_DIR");
    if let Ok(dir) = std::env::var("PEERBAR_LAB_DIR") {
        println!("cargo:rustc-link-search=native={dir}");
    }
    println!("cargo:rustc-link-lib=static=lab");
    println!("cargo:rustc-link-lib=peerbar");
}

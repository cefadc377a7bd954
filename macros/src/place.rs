//! Where the macro puts what it compiles.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The name of the folder; a program beside it may be called `onnxide`.
const NAME: &str = "onnxide-models";

/// The folder of this build.
pub(crate) fn folder(manifest: &Path) -> PathBuf {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let target = std::env::var_os("CARGO_TARGET_DIR");
    from(&arguments, target.as_deref(), manifest)
}

/// A macro is not told where Cargo builds. The Rust compiler that runs it is, by an argument: `target/debug/deps`, of
/// which the neighbor `target/debug/onnxide-models` goes away with `cargo clean`. Other programs that run macros, such as
/// language servers, have no such argument and are given the target folder, or a temporary one.
fn from(arguments: &[OsString], target: Option<&OsStr>, manifest: &Path) -> PathBuf {
    if let Some(output) = argument(arguments, "--out-dir") {
        let output = Path::new(output);
        return match output.parent() {
            Some(profile) if output.ends_with("deps") || output.ends_with("examples") => profile.join(NAME),
            _ => output.join(NAME),
        };
    }
    let in_package = manifest.join("target");
    match target {
        Some(target) if !target.is_empty() => manifest.join(target).join(NAME),
        _ if in_package.is_dir() => in_package.join(NAME),
        _ => std::env::temp_dir().join(NAME),
    }
}

/// The value of `--name VALUE` or `--name=VALUE`.
fn argument<'a>(arguments: &'a [OsString], name: &str) -> Option<&'a str> {
    let mut texts = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
    while let Some(text) = texts.next() {
        if text == name {
            return texts.next();
        }
        if let Some(value) = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_beside_what_cargo_builds() {
        let place = |arguments: &[&str], target: Option<&str>| {
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            from(&arguments, target.map(OsStr::new), Path::new("/app"))
        };
        for (output, folder) in [
            ("/app/target/debug/deps", "/app/target/debug/onnxide-models"),
            ("/app/target/release/examples", "/app/target/release/onnxide-models"),
            ("/elsewhere", "/elsewhere/onnxide-models"),
        ] {
            let folder = Path::new(folder);
            assert_eq!(place(&["rustc", "--out-dir", output, "src/lib.rs"], Some("/t")), folder);
            assert_eq!(place(&["rustc", &format!("--out-dir={output}")], None), folder);
        }
        assert_eq!(place(&["server"], Some("/t")), Path::new("/t/onnxide-models"));
        assert_eq!(place(&["server"], Some("t")), Path::new("/app/t/onnxide-models"));
        assert_eq!(
            place(&["server", "--out-dir"], None),
            std::env::temp_dir().join("onnxide-models")
        );
    }
}

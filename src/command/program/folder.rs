//! The folder of the cache.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The folder in which programs are built: `ONNXIDE_CACHE`, or `onnxide` in the user's folder for caches.
///
/// # Errors
///
/// The environment names no folder.
pub(super) fn cache() -> Result<PathBuf> {
    let folder = from(|name| env::var_os(name).filter(|value| !value.is_empty()));
    folder.context("there is no folder for the programs; name one with the environment variable ONNXIDE_CACHE")
}

fn from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| variable(name).map(PathBuf::from);
    if let Some(explicit) = path("ONNXIDE_CACHE") {
        return std::path::absolute(explicit).ok();
    }
    // The XDG Base Directory Specification has relative paths ignored.
    let shared = path("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    let shared = shared.or_else(|| {
        if cfg!(windows) {
            path("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            path("HOME").map(|home| home.join("Library/Caches"))
        } else {
            path("HOME").map(|home| home.join(".cache"))
        }
    });
    shared.map(|folder| folder.join("onnxide"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(variables: &[(&str, &str)]) -> Option<PathBuf> {
        from(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_first_folder_that_is_named_counts() {
        let all = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("ONNXIDE_CACHE", "/o")];
        assert_eq!(cache(&all), Some("/o".into()));
        assert_eq!(cache(&all[..2]), Some("/x/onnxide".into()));
        assert_eq!(cache(&all[..1]), Some("/h/.cache/onnxide".into()));
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]),
            Some("/h/.cache/onnxide".into())
        );
        assert_eq!(cache(&[]), None);
    }
}

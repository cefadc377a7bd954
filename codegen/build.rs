//! Makes a fingerprint of the compiler's sources, so that what an earlier build of it has put into a cache is not taken
//! for its own output.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    env::var_os("CARGO_PKG_VERSION").hash(&mut hasher);
    // The runtime packs weights. Beside a published package there is no such folder, and the version says it all.
    for folder in ["src", "../runtime/src"] {
        println!("cargo::rerun-if-changed={folder}");
        if Path::new(folder).is_dir() {
            hash_folder(Path::new(folder), &mut hasher)?;
        }
    }
    println!("cargo::rustc-env=ONNXIDE_FINGERPRINT={:016x}", hasher.finish());
    Ok(())
}

fn hash_folder(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            hash_folder(&path, hasher)?;
        } else {
            entry.file_name().hash(hasher);
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}

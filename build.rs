//! Compiles `proto/` with protox, so that a fresh machine needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

const PUBLIC: [&str; 9] =
    ["common", "encryption", "authorization", "audit", "grant", "policy", "subject", "key", "tenant"];
const STORED: [&str; 4] = ["entry", "key", "log", "policy"];
/// Messages that carry a subject id or a value.
const SECRET: [&str; 17] = [
    "EncryptRequest",
    "FieldToEncrypt",
    "EncryptStreamRequest",
    "DecryptRequest",
    "FieldToDecrypt",
    "DecryptStreamRequest",
    "DecryptedField",
    "DecryptedField.result",
    "DecryptResponse",
    "DecryptStreamResponse",
    "DecryptStreamResponse.result",
    "ComputeIndexRequest",
    "ValueToIndex",
    "EncryptStreamResponse",
    "EncryptStreamResponse.result",
    "ListEntriesRequest",
    "TailEntriesRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(PUBLIC.map(|name| format!("privet/v1/{name}.proto")))?;
    // Reflection and the coverage test read the public API's descriptors; stored messages are nobody's API.
    fs::write(out.join("privet.v1.bin"), compiler.encode_file_descriptor_set())?;

    compiler.include_source_info(true);
    compiler.open_files(STORED.map(|name| format!("privet/store/v1/{name}.proto")))?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .bytes(".privet.v1")
        // A message that carries a value must not be printable.
        .skip_debug(SECRET.map(|name| format!(".privet.v1.{name}")))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

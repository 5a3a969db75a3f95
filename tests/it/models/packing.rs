//! Archives that are damaged, or made to do harm.

use std::io::{Cursor, Write as _};

use capconduit::vosk_models::{InstallError, UnpackError};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{ENGLISH, World, archive, files_of, zip_of};

/// Installs what must not be installed; nothing of it may be left.
async fn refused(bytes: Vec<u8>) -> String {
    let world = World::new(bytes).await;
    refused_by(&world).await
}

async fn refused_by(world: &World) -> String {
    let error = world.install(ENGLISH).await.unwrap_err();
    assert!(
        matches!(
            error,
            InstallError::Unpack { .. } | InstallError::Incomplete(_)
        ),
        "{error:?}"
    );
    assert!(world.visible().is_empty(), "{:?}", world.visible());
    assert!(world.rests().is_empty(), "{:?}", world.rests());
    assert!(!world.part().exists());
    let outside = std::fs::read_dir(world.directory.path()).unwrap();
    assert_eq!(outside.count(), 1);
    capconduit::runtime::telemetry::Chain(&error).to_string()
}

/// The model with one more entry.
fn with(entry: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files_of(ENGLISH) {
        zip.start_file(path.as_str(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&bytes).unwrap();
    }
    entry(&mut zip);
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn names_that_lead_out_of_the_directory_are_refused() {
    for name in [
        "../escaped",
        "vosk-model-tiny-en-digits-8k/../../../escaped",
        "/tmp/escaped-from-capconduit",
    ] {
        let bytes = with(|zip| {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(b"x").unwrap();
        });
        let said = refused(bytes).await;
        assert!(said.contains("leads out"), "{name}: {said}");
    }
    assert!(!std::path::Path::new("/tmp/escaped-from-capconduit").exists());
}

#[tokio::test]
async fn links_are_refused() {
    let bytes = with(|zip| {
        let name = format!("{ENGLISH}/link");
        zip.add_symlink(name, "/etc/passwd", SimpleFileOptions::default())
            .unwrap();
    });
    let said = refused(bytes).await;
    assert!(said.contains("is a link"), "{said}");
}

#[tokio::test]
async fn a_device_is_refused() {
    // The type of the last entry's mode, in the table at the end: from plain file to character device.
    let mut bytes = with(|zip| {
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        zip.start_file(format!("{ENGLISH}/device"), options)
            .unwrap();
    });
    let table = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    bytes[table + 41] = 0x21;
    let said = refused(bytes).await;
    assert!(said.contains("no plain file"), "{said}");
}

#[tokio::test]
async fn archives_that_grow_out_of_proportion_are_refused() {
    let bytes = with(|zip| {
        zip.start_file(format!("{ENGLISH}/zeros"), SimpleFileOptions::default())
            .unwrap();
        for _ in 0..64 {
            zip.write_all(&vec![0; 1 << 20]).unwrap();
        }
    });
    let said = refused(bytes.clone()).await;
    assert!(said.contains("which no model is"), "{said}");

    // The tables may lie about it.
    let mut lying = bytes;
    let table = lying.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    lying[table + 24..table + 28].copy_from_slice(&1000_u32.to_le_bytes());
    let world = World::new(lying).await;
    refused_by(&world).await;

    let mut world = World::english().await;
    world.installer.limits.entries = 5;
    let said = refused_by(&world).await;
    assert!(said.contains("5 files"), "{said}");
}

#[tokio::test]
async fn damaged_archives_are_refused() {
    let whole = archive(ENGLISH);
    refused(b"<html>not found</html>".to_vec()).await;
    refused(Vec::new()).await;
    refused(whole[..whole.len() / 2].to_vec()).await;
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle..middle + 16].fill(0);
    let said = refused(changed).await;
    assert!(said.contains("damaged at"), "{said}");
}

#[tokio::test]
async fn what_is_not_one_model_in_one_directory_is_refused() {
    let flat: Vec<_> = files_of(ENGLISH)
        .into_iter()
        .map(|(path, bytes)| (path.split_once('/').unwrap().1.to_owned(), bytes))
        .collect();
    let said = refused(zip_of(&flat)).await;
    assert!(said.contains("one directory"), "{said}");

    let mut two = files_of(ENGLISH);
    two.push(("other/file".to_owned(), b"x".to_vec()));
    let said = refused(zip_of(&two)).await;
    assert!(said.contains("one directory"), "{said}");

    let mut half = files_of(ENGLISH);
    half.retain(|(path, _)| !path.ends_with("HCLr.fst") && !path.ends_with("mfcc.conf"));
    let said = refused(zip_of(&half)).await;
    assert!(
        said.contains("conf/mfcc.conf, graph/HCLr.fst missing"),
        "{said}"
    );

    let said = refused(zip_of(&[("readme/README".to_owned(), b"x".to_vec())])).await;
    assert!(said.contains("am/final.mdl"), "{said}");
}

#[test]
fn only_faults_of_the_archive_make_it_worthless() {
    assert!(UnpackError::NotOneDirectory.of_archive());
    let full = UnpackError::Write {
        path: "x".into(),
        source: std::io::Error::from(std::io::ErrorKind::StorageFull),
    };
    assert!(!full.of_archive());
}

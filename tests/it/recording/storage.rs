//! Any storage behaves the same; S3 is tried where `CAPCONDUIT_TEST_S3` names a server, see `tests/s3/run`.

use capconduit::recordings::object_storage::{Error, Key, Settings, Storage};
use futures_util::TryStreamExt as _;

async fn bytes(
    storage: &Storage,
    key: &Key,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, String> {
    let stream = storage.read(key, range).await.map_err(|e| e.to_string())?;
    let pieces: Vec<_> = stream.try_collect().await.map_err(|e| e.to_string())?;
    Ok(pieces.concat())
}

async fn keeps_objects(storage: &Storage) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    // Longer than a part of an upload.
    let content: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    let key = Key::parse("2026/11/21/some-caller.wav").unwrap();
    assert!(matches!(
        storage.length(&key).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        storage.read(&key, 0..1).await,
        Err(Error::NotFound { .. })
    ));
    storage.delete(&key).await.unwrap_or(());

    storage.put(&file, &key).await.unwrap();
    storage.put(&file, &key).await.unwrap();
    assert_eq!(storage.length(&key).await.unwrap(), 9_000_000);
    assert_eq!(bytes(storage, &key, 0..9_000_000).await.unwrap(), content);
    assert_eq!(bytes(storage, &key, 5..7).await.unwrap(), &content[5..7]);
    assert_eq!(bytes(storage, &key, 3..3).await.unwrap(), b"");
    assert!(bytes(storage, &key, 8_999_999..9_000_001).await.is_err());
    let copy = directory.path().join("copy");
    assert_eq!(storage.fetch(&key, &copy).await.unwrap(), 9_000_000);
    assert_eq!(std::fs::read(&copy).unwrap(), content);
    assert!(storage.fetch(&key, &copy).await.is_err(), "it is there");

    let other = directory.path().join("other");
    std::fs::write(&other, b"shorter").unwrap();
    storage.put(&other, &key).await.unwrap();
    assert_eq!(bytes(storage, &key, 0..7).await.unwrap(), b"shorter");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        content,
        "its source is as it was"
    );
    let nothing = directory.path().join("nothing");
    let missing = storage.put(&nothing, &key).await;
    assert!(matches!(missing, Err(Error::Failed { .. })), "{missing:?}");

    storage.delete(&key).await.unwrap();
    storage.delete(&key).await.unwrap();
    assert!(matches!(
        storage.length(&key).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_directory_keeps_objects() {
    let root = tempfile::tempdir().unwrap();
    let storage = Storage::open(&Settings::Directory(root.path().join("new"))).unwrap();
    keeps_objects(&storage).await;
}

#[tokio::test]
async fn a_directory_on_another_file_system_gets_copies() {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let storage = Storage::open(&Settings::Directory(root.path().join("new"))).unwrap();
    keeps_objects(&storage).await;
    let left = super::files(&root.path().join("new/2026/11/21"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn links_lead_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("passwd"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("day")).unwrap();
    std::fs::create_dir(root.path().join("real")).unwrap();
    let target = outside.path().join("passwd");
    std::os::unix::fs::symlink(&target, root.path().join("real/passwd")).unwrap();
    let storage = Storage::open(&Settings::Directory(root.path().to_owned())).unwrap();
    for key in ["day/passwd", "real/passwd"] {
        let key = Key::parse(key).unwrap();
        assert!(storage.length(&key).await.is_err());
        assert!(storage.read(&key, 0..6).await.is_err());
    }
    let key = Key::parse("day/passwd").unwrap();
    assert!(storage.put(&target, &key).await.is_err());
    assert!(storage.delete(&key).await.is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"secret");
}

#[cfg(not(feature = "s3"))]
#[test]
fn without_s3_an_s3_storage_is_a_clear_error() {
    let settings = Settings::S3(capconduit::recordings::object_storage::S3Settings {
        bucket: "b".to_owned(),
        prefix: String::new(),
        endpoint: None,
        region: "us-east-1".to_owned(),
        credentials: None,
    });
    let error = Storage::open(&settings).err().unwrap().to_string();
    assert!(error.contains("--features s3"), "{error}");
}

#[cfg(feature = "s3")]
mod s3 {
    use capconduit::recordings::object_storage::S3Settings;

    use super::*;

    fn storage(endpoint: &str) -> Storage {
        Storage::open(&Settings::S3(S3Settings {
            bucket: "recordings".to_owned(),
            prefix: "pbx/one".to_owned(),
            endpoint: Some(endpoint.to_owned()),
            region: "us-east-1".to_owned(),
            credentials: Some(("key".to_owned(), "secret".to_owned().into())),
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_bucket_keeps_objects() {
        let Ok(endpoint) = std::env::var("CAPCONDUIT_TEST_S3") else {
            eprintln!("CAPCONDUIT_TEST_S3 names no server: not tried");
            return;
        };
        let storage = storage(&endpoint);
        assert_eq!(storage.location(), "s3://recordings/pbx/one");
        keeps_objects(&storage).await;
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_told() {
        let storage = storage("http://127.0.0.1:9");
        let key = Key::parse("a").unwrap();
        let error = storage.length(&key).await.unwrap_err();
        assert!(
            error.to_string().contains("s3://recordings/pbx/one"),
            "{error}"
        );
    }
}

//! A door to the database that tests can close, block or slam.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What the door does to those who come and those who are inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// Lets all pass.
    Open,
    /// Cuts connections and refuses new ones.
    Closed,
    /// Takes what is said and says nothing.
    BlackHole,
}

/// The door, and how often those inside were frozen.
type State = (Door, u64);

/// A Unix socket in front of the server's.
pub struct FaultProxy {
    directory: tempfile::TempDir,
    door: watch::Sender<State>,
}

impl FaultProxy {
    /// In front of the server of this connection string (`host=… user=… dbname=…`).
    pub fn before(url: &str, door: Door) -> (Self, String) {
        let host = url
            .split(' ')
            .find_map(|part| part.strip_prefix("host="))
            .expect("has a host")
            .to_owned();
        let directory = tempfile::tempdir().expect("makes a directory");
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).expect("listens");
        let own = url.replace(&host, &directory.path().display().to_string());
        let target = Arc::new(PathBuf::from(host).join(".s.PGSQL.5432"));
        let door = watch::Sender::new((door, 0));
        let changes = door.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, Arc::clone(&target), changes.clone()));
            }
        });
        (Self { directory, door }, own)
    }

    pub fn set(&self, door: Door) {
        assert!(self.directory.path().exists());
        self.door.send_modify(|state| state.0 = door);
    }

    /// Those inside get no answer any more and are not cut off; those who come now are let through. So does a
    /// balancer that keeps connections whose server is gone, or a server with backends that hang.
    pub fn freeze_those_inside(&self) {
        self.door.send_modify(|state| state.1 += 1);
    }
}

async fn pass(mut client: UnixStream, target: Arc<PathBuf>, mut door: watch::Receiver<State>) {
    let (state, came) = *door.borrow_and_update();
    if state == Door::Closed {
        return;
    }
    let Ok(mut server) = UnixStream::connect(&*target).await else {
        return;
    };
    loop {
        let (state, frozen) = *door.borrow_and_update();
        if frozen > came {
            // Until the end of the test.
            while door.changed().await.is_ok() {}
            return;
        }
        match state {
            Door::Closed => return,
            Door::BlackHole => {
                if door.changed().await.is_err() {
                    return;
                }
                // What was said meanwhile is still in the socket, and is answered late.
            }
            Door::Open => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = door.changed() => if changed.is_err() {
                    return;
                },
            },
        }
    }
}

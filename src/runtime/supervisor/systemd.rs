//! The daemon's side of systemd: ready, stopping, watchdog and sockets handed over.
//!
//! Everything here does nothing where systemd does not run the daemon.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The daemon answers calls from now on.
pub fn ready() {
    notify(&NotifyState::Ready);
}

/// The daemon is about to end.
pub fn stopping() {
    notify(&NotifyState::Stopping);
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, notification = %state, "systemd cannot be notified");
    }
}

/// The listening socket that a `.socket` unit opened for us, if there is one. Takes it once.
pub fn inherited_listener() -> io::Result<Option<TcpListener>> {
    let listener = ListenFd::from_env().take_tcp_listener(0)?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
        // It came open for programs we start, too.
        rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(listener)
}

/// How often systemd wants to hear from us; `None` without a watchdog.
pub fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Tells systemd's watchdog that we live, as long as `check` says so, until `stop`.
///
/// `check` must fail only for what a restart would mend, such as an accept loop that no longer answers.
/// A database that is gone is not: restarting would take away the answers we still give.
pub async fn feed_watchdog<C, F>(limit: Duration, check: C, stop: CancellationToken)
where
    C: FnMut() -> F + Send,
    F: Future<Output = Result<(), String>> + Send,
{
    feed(limit, check, || notify(&NotifyState::Watchdog), stop).await;
}

async fn feed<C, F>(limit: Duration, mut check: C, mut fed: impl FnMut(), stop: CancellationToken)
where
    C: FnMut() -> F,
    F: Future<Output = Result<(), String>>,
{
    // A third leaves room for one check that takes too long.
    let interval = limit / 3;
    let mut tick = tokio::time::interval(interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match tokio::time::timeout(interval, check()).await {
            Ok(Ok(())) => fed(),
            Ok(Err(reason)) => tracing::error!(reason, "self-check failed: watchdog not fed"),
            Err(_) => tracing::error!("self-check takes too long: watchdog not fed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_watchdog_is_fed_only_after_a_good_self_check() {
        let stop = CancellationToken::new();
        let mut checks = 0;
        let mut meals = 0;
        let check = || {
            checks += 1;
            let (check, stop) = (checks, stop.clone());
            async move {
                match check {
                    1 | 2 => Ok(()),
                    3 => Err("accept loop is stuck".to_owned()),
                    4 => std::future::pending().await,
                    _ => {
                        stop.cancel();
                        Ok(())
                    }
                }
            }
        };
        let limit = Duration::from_millis(60);
        feed(limit, check, || meals += 1, stop.clone()).await;
        assert_eq!((checks, meals), (5, 3));
    }
}

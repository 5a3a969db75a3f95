//! What accounts have, and may have at most.

use std::collections::BTreeMap;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::{Error, Store};
use crate::domain::UserId;

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "accounts/sql/quotas";
        CLEAR = "clear",
        LIMITS = "limits",
        LOCK = "lock",
        SET = "set",
        USED = "used",
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// DIDs.
    Dids,
    /// Campaigns.
    Campaigns,
    /// Links, of all campaigns together.
    Links,
    /// API keys.
    Keys,
    /// Bytes of stored recordings.
    RecordingBytes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Dids,
        Self::Campaigns,
        Self::Links,
        Self::Keys,
        Self::RecordingBytes,
    ];

    /// As the tables name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dids => "dids",
            Self::Campaigns => "campaigns",
            Self::Links => "links",
            Self::Keys => "keys",
            Self::RecordingBytes => "recording_bytes",
        }
    }
}

/// Numbers by kind.
pub type ByKind = BTreeMap<Kind, i64>;

impl Store {
    /// How much an account has of everything.
    pub async fn used(&self, reach: Reach, user: UserId) -> Result<ByKind, Error> {
        let names = Kind::ALL.map(Kind::as_str);
        let rows = self
            .once_planned(reach, sql::USED, &[&user.0, &&names[..]])
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| Error::row(sql::USED.name, "no row"))?;
        let get = reader(sql::USED, row);
        Kind::ALL
            .into_iter()
            .map(|kind| Ok((kind, get.column(kind.as_str())?)))
            .collect()
    }
}

impl Request {
    /// What staff set for an account.
    pub async fn account_limits(&self, user: UserId) -> Result<ByKind, Error> {
        let rows = self.rows(sql::LIMITS, &[&user.0]).await?;
        let mut limits = ByKind::new();
        for row in &rows {
            let get = reader(sql::LIMITS, row);
            let name: String = get.column("kind")?;
            if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == name) {
                limits.insert(kind, get.column("most")?);
            }
        }
        Ok(limits)
    }

    /// How much an account has of a kind. Nobody adds to it until the transaction ends.
    pub async fn lock_and_count(&self, user: UserId, kind: Kind) -> Result<i64, Error> {
        let name = kind.as_str();
        self.rows(sql::LOCK, &[&user.0, &name]).await?;
        let names = [name];
        let row = self.one(sql::USED, &[&user.0, &&names[..]]).await?;
        reader(sql::USED, &row).column(name)
    }

    /// Sets a limit of an account; `None`: the configuration's counts again. Needs [`Reach::Everything`].
    pub async fn set_account_limit(
        &self,
        user: UserId,
        kind: Kind,
        most: Option<i64>,
    ) -> Result<(), Error> {
        let name = kind.as_str();
        match most {
            Some(most) => self.rows(sql::SET, &[&user.0, &name, &most]).await?,
            None => self.rows(sql::CLEAR, &[&user.0, &name]).await?,
        };
        Ok(())
    }
}

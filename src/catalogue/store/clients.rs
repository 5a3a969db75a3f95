//! Clients with their PJSIP objects.
//!
//! Invariant: passwords are written here and never read.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::db::request::{Reach, Request};
use crate::db::rows::reader;
use crate::db::sql::Sql;
use crate::db::{Error, Store};
use crate::domain::{CampaignId, ClientId, LinkId, UserId};

/// The statements.
pub mod sql {
    crate::db::sql::statements! { "catalogue/sql/clients";
        ACTIVE_LINK = "active_link",
        COUNT = "count",
        CREATE = "create",
        DELETE = "delete",
        LIST = "list",
        LOCK = "lock",
        LOCK_CAMPAIGNS = "lock_campaigns",
        LOCK_LINKS = "lock_links",
        LOCK_TO_DELETE = "lock_to_delete",
        ONE = "one",
        REMOVE_AUTH = "remove_auth",
        UPDATE = "update",
        WRITE_AOR = "write_aor",
        WRITE_AUTH = "write_auth",
        WRITE_ENDPOINT = "write_endpoint",
    }
}

/// A client with its PJSIP objects. Rows written straight to the tables may lack them.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its id.
    pub id: ClientId,
    /// Its name in Asterisk.
    pub client_identifier: String,
    /// Its name.
    pub name: String,
    /// Part of the client.
    pub department: Option<String>,
    /// `active` or `inactive`.
    pub status: String,
    /// `open` to all sellers, or to those with a grant (`granted`).
    pub access: String,
    /// Anything.
    pub notes: Option<String>,
    /// It registers with Asterisk.
    pub registers: bool,
    /// Whether it has, if it does.
    pub registered: Option<bool>,
    /// It has what registering needs: its own user name and a password, of a kind that Asterisk knows.
    pub can_register: bool,
    /// Who made it, if that account is still there.
    pub created_by: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its endpoint.
    pub endpoint: Option<EndpointRow>,
    /// Its address.
    pub aor: Option<AorRow>,
    /// Its credentials.
    pub auth: Option<AuthRow>,
    /// When endpoint, address and credentials were last changed.
    pub config_updated_at: [Option<Timestamp>; 3],
}

/// An endpoint: how Asterisk talks to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its id.
    pub id: String,
    /// Transport.
    pub transport: Option<String>,
    /// Names of addresses.
    pub aors: Option<String>,
    /// Credentials asked of the client.
    pub auth: Option<String>,
    /// Where calls from the client go.
    pub context: String,
    /// Codecs taken away.
    pub disallow: Option<String>,
    /// Codecs allowed.
    pub allow: Option<String>,
    /// Whether media may go around Asterisk.
    pub direct_media: Option<String>,
    /// Whether sound is encrypted: `no` or `sdes`.
    pub media_encryption: Option<String>,
    /// Credentials shown to the client.
    pub outbound_auth: Option<String>,
    /// User of the From header.
    pub from_user: Option<String>,
    /// Host of the From header.
    pub from_domain: Option<String>,
    /// Caller id shown to the client.
    pub callerid: Option<String>,
}

/// Where a client is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AorRow {
    /// Its id.
    pub id: String,
    /// The address.
    pub contact: String,
    /// Most addresses.
    pub max_contacts: Option<i32>,
    /// Seconds between checks.
    pub qualify_frequency: Option<i32>,
}

/// Credentials without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRow {
    /// Their id.
    pub id: String,
    /// `userpass`, `md5` or `google_oauth`.
    pub auth_type: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// Realm.
    pub realm: Option<String>,
}

/// A new client.
#[derive(Debug)]
pub struct NewClient<'a> {
    /// Its name in Asterisk.
    pub client_identifier: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Part of the client.
    pub department: Option<&'a str>,
    /// `active` or `inactive`.
    pub status: &'a str,
    /// Anything.
    pub notes: Option<&'a str>,
    /// It registers with Asterisk.
    pub registers: bool,
    /// Who makes it.
    pub created_by: UserId,
    /// `open` or `granted`.
    pub access: &'a str,
}

/// A change of a client itself; what is `None` stays.
#[derive(Debug)]
pub struct ClientChange<'a> {
    /// New name.
    pub name: Option<&'a str>,
    /// New department, which may be none.
    pub department: Option<Option<&'a str>>,
    /// New status.
    pub status: Option<&'a str>,
    /// New notes, which may be none.
    pub notes: Option<Option<&'a str>>,
    /// Whose calls it takes from now on.
    pub access: Option<&'a str>,
    /// Whether it registers from now on.
    pub registers: Option<bool>,
}

impl ClientRow {
    fn from_row(sql: Sql, row: &Row) -> Result<Self, Error> {
        let get = reader(sql, row);
        let endpoint = match get.column("endpoint_id")? {
            None => None,
            Some(id) => Some(EndpointRow {
                id,
                transport: get.column("transport")?,
                aors: get.column("aors")?,
                auth: get.column("auth")?,
                context: get.column("context")?,
                disallow: get.column("disallow")?,
                allow: get.column("allow")?,
                direct_media: get.column("direct_media")?,
                media_encryption: get.column("media_encryption")?,
                outbound_auth: get.column("outbound_auth")?,
                from_user: get.column("from_user")?,
                from_domain: get.column("from_domain")?,
                callerid: get.column("callerid")?,
            }),
        };
        let aor = match get.column("aor_id")? {
            None => None,
            Some(id) => Some(AorRow {
                id,
                contact: get.column("contact")?,
                max_contacts: get.column("max_contacts")?,
                qualify_frequency: get.column("qualify_frequency")?,
            }),
        };
        let auth = match get.column("auth_id")? {
            None => None,
            Some(id) => Some(AuthRow {
                id,
                auth_type: get.column("auth_type")?,
                username: get.column("username")?,
                realm: get.column("realm")?,
            }),
        };
        Ok(Self {
            id: ClientId(get.column("id")?),
            client_identifier: get.column("client_identifier")?,
            name: get.column("name")?,
            department: get.column("department")?,
            status: get.column("status")?,
            access: get.column("access")?,
            notes: get.column("notes")?,
            registers: get.column("registers")?,
            registered: get.column("registered")?,
            can_register: get.column("can_register")?,
            created_by: get.column("created_by")?,
            created_at: get.column("created_at")?,
            updated_at: get.column("updated_at")?,
            endpoint,
            aor,
            auth,
            config_updated_at: [
                get.column("endpoint_updated_at")?,
                get.column("aor_updated_at")?,
                get.column("auth_updated_at")?,
            ],
        })
    }
}

impl Store {
    /// A part of all clients in an order (`name`, `clientIdentifier`, `createdAt`, `updatedAt`; with a minus the other
    /// way round), and how many there are: of one status, of one access, with a text in identifier, name or department.
    pub async fn clients(
        &self,
        (status, access, text): (Option<&str>, Option<&str>, Option<&str>),
        sort: &str,
        (limit, offset): (i64, i64),
    ) -> Result<(Vec<ClientRow>, i64), Error> {
        let reach = Reach::Everything;
        let counted = self
            .once_planned(reach, sql::COUNT, &[&status, &access, &text])
            .await?;
        let total = counted.first().map_or(0, |row| row.get("total"));
        let rows = self
            .once_planned(
                reach,
                sql::LIST,
                &[&status, &access, &text, &sort, &limit, &offset],
            )
            .await?;
        let clients = rows.iter().map(|row| ClientRow::from_row(sql::LIST, row));
        Ok((clients.collect::<Result<_, _>>()?, total))
    }

    /// A client.
    pub async fn client(&self, id: ClientId) -> Result<Option<ClientRow>, Error> {
        let rows = self.once(Reach::Everything, sql::ONE, &[&id.0]).await?;
        let row = rows.first();
        row.map(|row| ClientRow::from_row(sql::ONE, row))
            .transpose()
    }
}

impl Request {
    /// A client as it is now in this transaction.
    pub async fn client(&self, id: ClientId) -> Result<Option<ClientRow>, Error> {
        let row = self.row(sql::ONE, &[&id.0]).await?;
        row.map(|row| ClientRow::from_row(sql::ONE, &row))
            .transpose()
    }

    /// A client which nobody else changes until the end of the transaction, nor its PJSIP objects.
    pub async fn lock_client(&self, id: ClientId) -> Result<Option<ClientRow>, Error> {
        self.rows(sql::LOCK, &[&id.0]).await?;
        // Read after the locks are held: what was waited for is seen.
        self.client(id).await
    }

    /// A client which nobody else changes or links until the end of the transaction.
    pub async fn lock_client_to_delete(&self, id: ClientId) -> Result<Option<ClientRow>, Error> {
        self.rows(sql::LOCK_TO_DELETE, &[&id.0]).await?;
        self.client(id).await
    }

    /// Keeps the links of a client that was locked, and the campaigns they belong to, from becoming active. Calls
    /// on these links wait for the end of the transaction.
    pub async fn lock_links_of(&self, id: ClientId) -> Result<(), Error> {
        self.rows(sql::LOCK_CAMPAIGNS, &[&id.0]).await?;
        self.rows(sql::LOCK_LINKS, &[&id.0]).await?;
        Ok(())
    }

    /// An active link that ties a client to an active campaign.
    pub async fn active_link(&self, id: ClientId) -> Result<Option<(LinkId, CampaignId)>, Error> {
        let row = self.row(sql::ACTIVE_LINK, &[&id.0]).await?;
        row.map(|row| {
            let get = reader(sql::ACTIVE_LINK, &row);
            Ok((
                LinkId(get.column("link_id")?),
                CampaignId(get.column("campaign_id")?),
            ))
        })
        .transpose()
    }

    /// Makes a client without PJSIP objects. [`Error::broken`] tells whether the identifier is taken.
    pub async fn create_client(&self, new: &NewClient<'_>) -> Result<ClientId, Error> {
        let row = self
            .one(
                sql::CREATE,
                &[
                    &new.client_identifier,
                    &new.name,
                    &new.department,
                    &new.status,
                    &new.notes,
                    &new.created_by.0,
                    &new.access,
                    &new.registers,
                ],
            )
            .await?;
        Ok(ClientId(reader(sql::CREATE, &row).column("id")?))
    }

    /// Changes a client that was locked.
    pub async fn update_client(
        &self,
        id: ClientId,
        change: &ClientChange<'_>,
    ) -> Result<(), Error> {
        self.rows(
            sql::UPDATE,
            &[
                &id.0,
                &change.name,
                &change.department.is_some(),
                &change.department.flatten(),
                &change.status,
                &change.notes.is_some(),
                &change.notes.flatten(),
                &change.access,
                &change.registers,
            ],
        )
        .await?;
        Ok(())
    }

    /// Writes the endpoint of a client, new or changed. [`Error::broken`] tells whether its id is another's.
    pub async fn write_endpoint(&self, of: ClientId, endpoint: &EndpointRow) -> Result<(), Error> {
        self.rows(
            sql::WRITE_ENDPOINT,
            &[
                &endpoint.id,
                &of.0,
                &endpoint.transport,
                &endpoint.aors,
                &endpoint.auth,
                &endpoint.context,
                &endpoint.disallow,
                &endpoint.allow,
                &endpoint.direct_media,
                &endpoint.outbound_auth,
                &endpoint.from_user,
                &endpoint.from_domain,
                &endpoint.callerid,
                &endpoint.media_encryption,
            ],
        )
        .await?;
        Ok(())
    }

    /// Writes the address of a client, new or changed. [`Error::broken`] tells whether its id is another's.
    pub async fn write_aor(&self, of: ClientId, aor: &AorRow) -> Result<(), Error> {
        self.rows(
            sql::WRITE_AOR,
            &[
                &aor.id,
                &of.0,
                &aor.contact,
                &aor.max_contacts,
                &aor.qualify_frequency,
            ],
        )
        .await?;
        Ok(())
    }

    /// Writes the credentials of a client, new or changed, and the password if there is one to write, which may be
    /// none. [`Error::broken`] tells whether their id is another's.
    pub async fn write_auth(
        &self,
        of: ClientId,
        auth: &AuthRow,
        password: Option<Option<&str>>,
    ) -> Result<(), Error> {
        self.rows(
            sql::WRITE_AUTH,
            &[
                &auth.id,
                &of.0,
                &auth.auth_type,
                &auth.username,
                &auth.realm,
                &password.is_some(),
                &password.flatten(),
            ],
        )
        .await?;
        Ok(())
    }

    /// Removes the credentials of a client.
    pub async fn remove_auth(&self, of: ClientId) -> Result<(), Error> {
        self.rows(sql::REMOVE_AUTH, &[&of.0]).await?;
        Ok(())
    }

    /// Deletes a client that was locked, with its PJSIP objects and links.
    pub async fn delete_client(&self, id: ClientId) -> Result<(), Error> {
        self.rows(sql::DELETE, &[&id.0]).await?;
        Ok(())
    }
}

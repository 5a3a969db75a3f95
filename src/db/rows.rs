//! Reads columns of rows: a column that is not what it should be is named with its statement.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::Error;
use super::sql::Sql;

pub(crate) struct Reader<'a> {
    sql: Sql,
    row: &'a Row,
}

pub(crate) fn reader(sql: Sql, row: &Row) -> Reader<'_> {
    Reader { sql, row }
}

/// What a statement made by `count_of!` counted.
pub(crate) fn total_of(sql: Sql, rows: &[Row]) -> Result<i64, Error> {
    let row = rows.first().ok_or_else(|| Error::row(sql.name, "no row"))?;
    reader(sql, row).column("total")
}

impl<'a> Reader<'a> {
    pub(crate) fn column<T: FromSql<'a>>(&self, name: &str) -> Result<T, Error> {
        self.row
            .try_get(name)
            .map_err(|e| Error::row(self.sql.name, e.to_string()))
    }
}

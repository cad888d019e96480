//! How a copy stands, written down for whoever asks.

use super::catalog::{Catalog, CatalogError, Standing, now};

/// The standing of one copy. It is written only when it changes: an idle copy writes nothing.
#[derive(Debug)]
pub struct Stand<'c> {
    catalog: &'c Catalog,
    copy: i64,
    standing: Standing,
}

impl<'c> Stand<'c> {
    /// That of the copy with this number.
    pub fn new(catalog: &'c Catalog, copy: i64, standing: Standing) -> Self {
        Self { catalog, copy, standing }
    }

    /// It is the same as its source; `true` when that is news.
    pub fn same(&mut self) -> Result<bool, CatalogError> {
        let news = self.standing.behind_since.is_some() || self.standing.same_at.is_none();
        if news || self.standing.error.is_some() {
            self.compared()?;
        }
        Ok(news)
    }

    /// It was found to be the same as its source, or made so.
    pub fn compared(&mut self) -> Result<(), CatalogError> {
        self.standing = Standing { same_at: Some(now()), ..Standing::default() };
        self.write()
    }

    /// So many changes are known and not made yet; with 0, nobody knows.
    pub fn behind(&mut self, by: u64) -> Result<(), CatalogError> {
        self.standing.behind_since.get_or_insert_with(now);
        self.standing.behind_by = by;
        self.write()
    }

    /// Something goes wrong.
    pub fn troubled(&mut self, error: String) -> Result<(), CatalogError> {
        self.standing.behind_since.get_or_insert_with(now);
        self.standing.error = Some(error);
        self.write()
    }

    fn write(&self) -> Result<(), CatalogError> {
        self.catalog.stand(self.copy, &self.standing)
    }
}

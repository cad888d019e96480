//! What a session may do with what is in a directory, as finely as Landlock can tell.

/// Rights to a directory and to everything below it.
///
/// Renaming a file over another, and removing it, are one right: what may not be removed cannot be replaced either. A file
/// never gains rights by being moved or linked: Landlock compares both directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Read the content of files.
    pub read: bool,
    /// List the names in directories.
    pub list: bool,
    /// Change the content of files.
    pub change: bool,
    /// Make files, directories and symlinks, and take in what another directory has.
    pub add: bool,
    /// Remove files, and put others in their place.
    pub remove: bool,
    /// Remove directories.
    pub remove_directories: bool,
    /// Make devices, FIFOs and sockets.
    pub special: bool,
}

impl Rights {
    /// What a pull needs.
    pub const PULL: Self = Self {
        read: true,
        list: true,
        change: false,
        add: false,
        remove: false,
        remove_directories: false,
        special: false,
    };

    /// Everything but special files.
    pub const ALL: Self =
        Self { change: true, add: true, remove: true, remove_directories: true, ..Self::PULL };

    /// Whether anything can be made or changed.
    pub fn writes(self) -> bool {
        self.change || self.add || self.remove || self.remove_directories || self.special
    }

    /// The rights of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            list: self.list || other.list,
            change: self.change || other.change,
            add: self.add || other.add,
            remove: self.remove || other.remove,
            remove_directories: self.remove_directories || other.remove_directories,
            special: self.special || other.special,
        }
    }

    /// Whether these are at least `other`.
    pub fn cover(self, other: Self) -> bool {
        self.and(other) == self
    }
}

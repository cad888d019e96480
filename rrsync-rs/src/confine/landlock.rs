//! Landlock: the files that a session can reach.
//!
//! Rules are made for open descriptors, so what was checked is what is allowed. Every right that the running kernel
//! knows is handled, so a right without a rule is denied, also one that this crate's version added after the code was
//! written: best effort upwards, from a floor that must hold.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{ConfineError, Files, is_directory, shown};
use crate::rsync::judge::Reach;

/// The newest ABI whose rights are asked for.
pub(super) const NEWEST: ABI = ABI::V7;

/// The ABI that the kernel offers, 0 for none. Makes a ruleset and drops it; nothing is enforced.
pub(super) fn abi() -> u8 {
    [NEWEST, ABI::V6, ABI::V5, ABI::V3, ABI::V2, ABI::V1]
        .into_iter()
        .find(|abi| offered(*abi))
        .map_or(0, |abi| abi as u8)
}

fn offered(abi: ABI) -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| if abi < ABI::V6 { Ok(rules) } else { rules.scope(Scope::from_all(abi)) })
        .and_then(Ruleset::create)
        .is_ok()
}

/// Enforces the rules on this thread, with no right that is newer than `newest`, and returns the ABI in force.
pub(super) fn enforce(files: &Files<'_>, newest: ABI) -> Result<u8, ConfineError> {
    let shown = |reach: &Reach| if shown::hides(reach) { shown::files(reach) } else { Ok(Vec::new()) };
    let shown: Vec<_> =
        files.reach.iter().map(shown).collect::<io::Result<_>>().map_err(ConfineError::Hidden)?;
    restrict(files, &shown, newest).map_err(|error| match error {
        RulesetError::CreateRuleset(_) | RulesetError::HandleAccesses(_) => ConfineError::NoLandlock,
        error => ConfineError::Landlock(error.to_string()),
    })
}

/// `shown` are the files of each reach that may be read although names are hidden in it.
fn restrict(files: &Files<'_>, shown: &[Vec<PathBuf>], newest: ABI) -> Result<u8, RulesetError> {
    let known = AccessFs::from_all(newest);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(known)?;
    if newest >= ABI::V4 {
        rules = rules.handle_access(AccessNet::from_all(newest))?;
    }
    if newest >= ABI::V6 {
        rules = rules.scope(Scope::from_all(newest))?;
    }
    let mut rules = rules.create()?;
    for (reach, shown) in files.reach.iter().zip(shown) {
        let mut rights = rights(reach) & known;
        if shown::hides(reach) {
            rights.remove(AccessFs::ReadFile);
            for file in shown.iter().filter_map(|file| shown::hold(reach, file)) {
                rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
            }
        }
        // A rule that allows nothing is an error.
        if !rights.is_empty() {
            rules = rules.add_rule(PathBeneath::new(reach.dir.as_fd(), rights))?;
        }
    }
    for program in files.programs {
        let rights = AccessFs::Execute | AccessFs::ReadFile;
        rules = rules.add_rule(PathBeneath::new(program.fd.as_fd(), rights))?;
    }
    for library in files.libraries {
        rules = rules.add_rule(PathBeneath::new(library.fd.as_fd(), AccessFs::ReadFile))?;
    }
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Ok(0),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi.min(newest) as u8),
        (_, _) => Ok(0),
    }
}

/// The ABI of that number: [`NEWEST`] for one that is newer, `None` for none.
pub(super) fn numbered(number: u8) -> Option<ABI> {
    [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, ABI::V7]
        .into_iter()
        .rfind(|abi| *abi as u8 <= number)
}

/// What a directory, or a single file, may be used for.
fn rights(reach: &Reach) -> BitFlags<AccessFs> {
    let has = reach.rights;
    let each: [(bool, BitFlags<AccessFs>); 7] = [
        (has.read, AccessFs::ReadFile.into()),
        (has.list, AccessFs::ReadDir.into()),
        (has.change, AccessFs::WriteFile | AccessFs::Truncate),
        (has.add, AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::MakeSym | AccessFs::Refer),
        (has.remove, AccessFs::RemoveFile.into()),
        (has.remove_directories, AccessFs::RemoveDir.into()),
        (has.special, AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock),
    ];
    let rights = each.into_iter().filter(|(has, _)| *has).fold(BitFlags::EMPTY, |all, (_, more)| all | more);
    if is_directory(&reach.dir) { rights } else { rights & AccessFs::from_file(NEWEST) }
}

//! Serves directories over SFTP on stdin and stdout, for tests and benchmarks without sshd:
//! `sftp -D 'sftp-serve [--atomic] [--audit FILE] [--confine] NAME=DIR[:ACCESS[:no-overwrite|:no-delete]] …'`
//!
//! A development tool: nothing here is part of the gate. `NAME/SUB=ACCESS` gives a sub-path another access.

use std::io::Write as _;
use std::process::ExitCode;

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{Access, Workspace};
use rrsync_rs::sftp::{self, syscalls};
use rrsync_rs::vfs::{Mount, Options, Vfs};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sftp-serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let options = Options::default();
    let mut atomic = false;
    let mut confine = false;
    let mut log = None;
    let mut workspaces: Vec<(String, Workspace)> = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--atomic" => atomic = true,
            "--confine" => confine = true,
            "--audit" => log = Some(std::fs::File::create(args.next().ok_or("--audit needs a file")?)?),
            spec => add(&mut workspaces, spec)?,
        }
    }
    let mut mounts = Vec::new();
    for (name, workspace) in &mut workspaces {
        workspace.files.atomic |= atomic;
        mounts.push(Mount::open(name.parse()?, workspace)?);
    }
    let vfs = Vfs::new(mounts, options);
    if confine {
        confine_files(&workspaces)?;
        let may_write = |w: &Workspace| w.paths.values().chain([&w.access]).any(|access| access.may_write());
        let writes = workspaces.iter().any(|(_, workspace)| may_write(workspace));
        let changing = if writes { syscalls::CHANGING } else { &[] };
        confine_calls(syscalls::READING.iter().chain(changing))?;
    }
    let mut audit = |event: &sftp::FileEvent<'_>| {
        if let Some(log) = &mut log {
            let to = event.to.map(|to| format!(" -> {}", Escaped(to))).unwrap_or_default();
            let path = Escaped(event.path);
            let _ = writeln!(log, "{} {path}{to} {} {:?}", event.deed, event.bytes, event.outcome);
        }
    };
    let (_, served) = sftp::serve(std::io::stdin(), std::io::stdout(), &vfs, &mut audit);
    Ok(served?)
}

fn add(workspaces: &mut Vec<(String, Workspace)>, spec: &str) -> Result<(), Error> {
    let (name, value) = spec.split_once('=').ok_or("expected NAME=DIR or NAME/SUB=ACCESS")?;
    if let Some((name, sub)) = name.split_once('/') {
        let known = workspaces.iter_mut().find(|(known, _)| known == name).ok_or("no such workspace")?;
        known.1.paths.insert(sub.into(), access(value)?);
        return Ok(());
    }
    let mut words = value.split(':');
    let mut workspace = Workspace::new(words.next().unwrap_or_default(), Access::ReadWrite);
    for word in words {
        match word {
            "no-overwrite" => workspace.overwrite = false,
            "no-delete" => workspace.delete = false,
            word => workspace.access = access(word)?,
        }
    }
    workspaces.push((name.to_owned(), workspace));
    Ok(())
}

fn access(word: &str) -> Result<Access, Error> {
    match word {
        "ro" => Ok(Access::ReadOnly),
        "wo" => Ok(Access::WriteOnly),
        "rw" => Ok(Access::ReadWrite),
        word => Err(format!("unknown access {word:?}").into()),
    }
}

/// Landlock on the workspaces, and on nothing else.
fn confine_files(workspaces: &[(String, Workspace)]) -> Result<(), Error> {
    use landlock::{
        ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, path_beneath_rules,
    };
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V7))?.create()?;
    for (_, workspace) in workspaces {
        let places = workspace.paths.iter().map(|(sub, access)| (workspace.path.join(sub), *access));
        for (path, access) in places.chain([(workspace.path.clone(), workspace.access)]) {
            let writing = AccessFs::from_write(ABI::V7)
                & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock);
            let reading = AccessFs::ReadFile | AccessFs::ReadDir;
            let rights = if access.may_write() { reading | writing } else { reading };
            rules = rules.add_rules(path_beneath_rules([path], rights))?;
        }
    }
    rules.restrict_self()?;
    Ok(())
}

/// Allows these system calls and kills the process at any other, so that a test cannot overlook one.
fn confine_calls<'a>(calls: impl Iterator<Item = &'a syscalls::Allowed>) -> Result<(), Error> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
        SeccompFilter, SeccompRule,
    };
    let mut rules = std::collections::BTreeMap::new();
    for allowed in calls {
        let rule = match allowed.only_if {
            None => Vec::new(),
            Some((argument, value)) => {
                let condition = SeccompCondition::new(argument, Len::Qword, Op::Eq, value)?;
                vec![SeccompRule::new(vec![condition])?]
            }
        };
        rules.insert(allowed.call, rule);
    }
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

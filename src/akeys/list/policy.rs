//! What is wrong with a policy that could be read: workspaces that the gate refuses, and places that are not there.

use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::grant::{Grant, Tool, Workspace};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::WorkspaceName;

use super::Finding;
use crate::akeys::gate;
use crate::akeys::sub_path;

/// The findings of `grant`, in the order of its workspaces.
pub fn policy_findings(grant: &Grant, layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, workspace) in &grant.workspaces {
        match workspace.path.canonicalize() {
            Ok(real) => {
                if let Err(exposure) =
                    exposure::refuse(&real, workspace.hidden, layout, &[&gate::own_directory()])
                {
                    let text = format!("the gate refuses workspace {name}: {exposure}");
                    findings.push(Finding::new("exposure", text));
                }
                findings.extend(sub_path_findings(name, workspace));
                findings.extend(unkept_rule(grant, name, workspace));
            }
            Err(error) => {
                let text = format!("workspace {name}, {}: {error}", Escaped::os(&workspace.path));
                findings.push(Finding::new("no-workspace", text));
            }
        }
    }
    findings
}

/// A tool of the grant that cannot be used where it could be, because it would not keep a rule.
fn unkept_rule(grant: &Grant, name: &WorkspaceName, workspace: &Workspace) -> Option<Finding> {
    if !grant.tools.contains(&Tool::Rsync) {
        return None;
    }
    let writes = workspace.places().any(|(_, access)| access.may_write());
    let rule = workspace.files.beyond_rsync().filter(|_| writes)?;
    let text =
        format!("rsync may not push into {name}: it does not keep the rule \"{rule}\"; sftp and scp do");
    Some(Finding::new("rsync-rule", text))
}

fn sub_path_findings(name: &WorkspaceName, workspace: &Workspace) -> impl Iterator<Item = Finding> {
    workspace.paths.keys().filter_map(move |sub| {
        let what = match sub_path::exists(&workspace.path, sub) {
            Ok(true) => return None,
            Ok(false) => "does not exist".to_owned(),
            Err(error) => error.to_string(),
        };
        let path = workspace.path.join(sub);
        let text = format!("{name}/{}: {} {what}", Escaped::os(sub), Escaped::os(&path));
        Some(Finding::new("sub-path", text))
    })
}

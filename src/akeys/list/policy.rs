//! What is wrong with a policy that could be read: workspaces that the gate refuses, and places that are not there.

use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure;
use rrsync_rs::grant::{Grant, Workspace};
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
            }
            Err(error) => {
                let text = format!("workspace {name}, {}: {error}", Escaped::os(&workspace.path));
                findings.push(Finding::new("no-workspace", text));
            }
        }
    }
    findings
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

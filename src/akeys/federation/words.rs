//! What a bundle says, in words.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use crate::akeys::bundle::{Bundle, PodKey};
use crate::common::moment::in_words;
use crate::common::report::{Report, shown};

/// Everything that a bundle asks for and suggests, and who has signed it.
pub(super) fn bundle(bundle: &Bundle, signer: Option<&PodKey>, layout: &Layout, report: &mut Report) {
    if let Some(signer) = signer {
        report.line(format_args!("  signed by {}, serial {}", signer.fingerprint(), bundle.serial));
    } else {
        report.line("  not signed");
    }
    for offer in &bundle.offers {
        report.line(format_args!("  pod {} wants {}", offer.pod, offer.wants()));
        report.line(format_args!("    key {}", offer.key.fingerprint()));
        for old in &offer.replaces {
            report.line(format_args!("    in place of {}", old.fingerprint()));
        }
    }
    for revoked in &bundle.revoked {
        report.line(format_args!("  pod {} was revoked on {}", revoked.pod, in_words(revoked.since)));
        report.line(format_args!("    key {}", revoked.key.fingerprint()));
    }
    for hub in &bundle.hubs {
        report.line(format_args!("  hub {hub}"));
    }
    if let Some(nats) = &bundle.nats {
        report.line(format_args!("  events by {nats}"));
    }
    for key in &bundle.host_keys {
        report.line(format_args!("  host {} has {}", key.place, key.key.shown()));
    }
    suggestions(bundle, layout, report);
}

/// What the bundle would like to see; nothing is exposed because of it.
fn suggestions(bundle: &Bundle, layout: &Layout, report: &mut Report) {
    for (name, suggestion) in &bundle.workspaces {
        let path =
            suggestion.path.as_ref().map_or_else(String::new, |path| format!(" at {}", shown(layout, path)));
        let subs: Vec<String> =
            suggestion.writable.iter().map(|sub| format!("{name}/{}", Escaped::os(sub))).collect();
        let writable =
            if subs.is_empty() { String::new() } else { format!(", writable {}", subs.join(", ")) };
        report.line(format_args!("  suggests workspace {name}{path} ({}){writable}", suggestion.access));
    }
}

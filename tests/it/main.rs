//! End-to-end tests: the real programs, a real sshd, a real rsync, a scratch home.
//!
//! One binary, so that everything is linked once and runs in parallel. `support` is the environment; every other
//! module is one subject. `ordinary_user` runs the whole binary once more without root's rights when it starts as root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on must stop loudly"
)]

mod afiles_faults;
mod afiles_fetch;
mod afiles_follow;
mod afiles_hostile;
mod afiles_kills;
mod afiles_loops;
mod afiles_nats;
mod afiles_networks;
mod afiles_pull;
mod akeys_accounts;
mod akeys_add;
mod akeys_apply;
mod akeys_audit;
mod akeys_audit_asked;
mod akeys_cards;
mod akeys_completions;
mod akeys_disable;
mod akeys_doctor;
mod akeys_editors;
mod akeys_expire;
mod akeys_explain;
mod akeys_faults;
mod akeys_faults_keys;
mod akeys_federation;
mod akeys_format;
mod akeys_grant;
mod akeys_guard;
mod akeys_history;
mod akeys_home;
mod akeys_hostile;
mod akeys_install;
mod akeys_learn;
mod akeys_list;
mod akeys_live;
mod akeys_make;
mod akeys_manual;
mod akeys_parallel;
mod akeys_remote;
mod akeys_remote_accounts;
mod akeys_remove;
mod akeys_report;
mod akeys_rotate;
mod akeys_rotate_key;
mod akeys_signed;
mod akeys_users;
mod awatch_faults;
mod awatch_gate;
mod awatch_nats;
mod awatch_random;
mod awatch_run;
mod awatch_space;
mod documents;
mod fuzz_corpus;
mod installer;
mod main_job;
mod ordinary_user;
mod plain_sshd;
mod sftp_clients;
mod support;
mod templates;

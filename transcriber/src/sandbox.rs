//! A sandbox for this process, before it reads anything that was not made here.
//!
//! Models are files from elsewhere, read by C++ code of many authors. Should one of them take this process over, then it
//! reaches nothing: Landlock leaves it the models and the directory of the recordings at hand to read and nothing to
//! write; a seccomp filter leaves it no sockets, no other processes, no programs. What the kernel cannot do is told, and
//! the rest is done. Neither can be undone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};
use thiserror::Error;

/// The newest Landlock that is asked for (Linux 6.12); an older one does what it can.
const LANDLOCK: ABI = ABI::V6;

/// What libvosk's mathematics may look at: how many processors there are.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Why there is no sandbox, though the kernel could make one.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Of files.
    #[error("cannot restrict which files are read")]
    Files(#[from] RulesetError),
    /// Of system calls.
    #[error("cannot make the filter of system calls")]
    Filter(#[from] seccompiler::BackendError),
    /// Of system calls, at the kernel.
    #[error("cannot restrict the system calls")]
    Calls(#[from] seccompiler::Error),
}

/// Leaves this process these directories to read, and nothing else. Returns what the kernel lacks for it, in words.
pub fn enter(readable: &[PathBuf]) -> Result<Vec<String>, SandboxError> {
    let mut lacks = Vec::new();
    // Landlock first: the filter refuses what it needs.
    lacks.extend(restrict_files(readable)?);
    lacks.extend(restrict_calls()?);
    Ok(lacks)
}

/// What a model's directory stands for: a link may lead to another version of the model by the time it is loaded.
pub fn places_of_model(directory: &Path) -> Vec<PathBuf> {
    let mut places = vec![directory.to_owned()];
    let is_link = std::fs::symlink_metadata(directory).is_ok_and(|found| found.is_symlink());
    if is_link
        && let Ok(target) = std::fs::canonicalize(directory)
        && let Some(parent) = target.parent().filter(|parent| parent.parent().is_some())
    {
        places.push(parent.to_owned());
    }
    places
}

fn restrict_files(readable: &[PathBuf]) -> Result<Option<String>, RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let places = readable.iter().map(PathBuf::as_path);
    let places = places.chain([Path::new(PROCESSORS)]);
    let status: RestrictionStatus = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        // What is not there cannot be read anyway.
        .add_rules(path_beneath_rules(places, reading))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some(
            "the kernel's Landlock is older than Linux 6.12: a transcriber cannot read or write other files, but not all \
             that newer ones refuse is refused"
                .to_owned(),
        ),
        RulesetStatus::NotEnforced => Some(
            "the kernel has no Landlock (Linux 5.13 or newer, with `landlock` in its list of security modules): a \
             transcriber could read the files that the daemon's user may read"
                .to_owned(),
        ),
    })
}

/// System calls that listening to a recording never needs.
const REFUSED: &[libc::c_long] = &[
    // Talking to anybody.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Doing all of the above and more without a system call for each.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Shared memory and messages by number.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // What Landlock does not look at: the attributes of files.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // Around the file system's walls.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Parts of the kernel with a history.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_syslog,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// Those that there are on one architecture only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// On x86-64 each call has a second number, of the ABI x32, and some have a third.
#[cfg(target_arch = "x86_64")]
const X32: Option<(libc::c_long, std::ops::RangeInclusive<libc::c_long>)> =
    Some((0x4000_0000, 512..=547));
#[cfg(not(target_arch = "x86_64"))]
const X32: Option<(libc::c_long, std::ops::RangeInclusive<libc::c_long>)> = None;

fn restrict_calls() -> Result<Option<String>, SandboxError> {
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Some(format!(
            "system calls of a transcriber are not restricted on {}: it could use the network",
            std::env::consts::ARCH
        )));
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        rules.insert(*call, Vec::new());
        if let Some((bit, _)) = &X32 {
            rules.insert(bit | call, Vec::new());
        }
    }
    if let Some((bit, own)) = X32 {
        rules.extend(own.map(|call| (bit | call, Vec::new())));
    }
    // A process that gives up sends the signal to itself.
    let myself = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![but(0, myself)?]);
    // Its own limits it may ask for.
    rules.insert(libc::SYS_prlimit64, vec![but(0, 0)?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        architecture,
    )?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    match apply_filter_all_threads(&program) {
        Ok(()) => Ok(None),
        // A kernel without seccomp, or one that lets nobody filter.
        Err(seccompiler::Error::Seccomp(problem)) => Ok(Some(format!(
            "the kernel does not restrict system calls ({problem}): a transcriber could use the network"
        ))),
        Err(problem) => Err(problem.into()),
    }
}

/// Refuses a call unless an argument, of 32 bits, has this value.
fn but(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        value,
    )?])
}

//! What the system tells about itself and about this process.

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    allow_descriptors, available_memory, cpu_time, cpus, descriptor_count, die_with, kernel, pin, processor,
    refresh_memory_counts,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{
    allow_descriptors, available_memory, cpu_time, cpus, descriptor_count, die_with, kernel, pin, processor,
    refresh_memory_counts,
};

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs, io, time::Duration};

    use rustix::{
        process::{Resource, Rlimit, Signal},
        thread::CpuSet,
        time::ClockId,
    };

    use crate::setting::Cpus;

    /// The processors that this process may run on.
    pub(crate) fn cpus() -> io::Result<Vec<usize>> {
        let set = rustix::thread::sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
    }

    /// Keeps this thread, and those that it starts, to these processors, if there are any.
    pub(crate) fn pin(cpus: &Cpus) -> io::Result<()> {
        if cpus.0.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for &cpu in &cpus.0 {
            if cpu >= CpuSet::MAX_CPU {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no processor {cpu}")));
            }
            set.set(cpu);
        }
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }

    /// Lets the end of the parent end this process.
    pub(crate) fn die_with(parent: u32) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before.
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if now == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::other("the process that started this one is gone"))
        }
    }

    /// Puts the counts of all processors together, which only root may; tells whether it was done.
    pub(crate) fn refresh_memory_counts() -> bool {
        fs::read_to_string("/proc/sys/vm/stat_refresh").is_ok()
    }

    /// Memory that the system could give away, in bytes: what it says, and the free pages that each processor keeps for
    /// itself, which may be some megabytes and are not in what it says.
    pub(crate) fn available_memory() -> io::Result<i64> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<i64>().ok());
        let available =
            kib.ok_or_else(|| io::Error::other("/proc/meminfo does not tell MemAvailable"))? << 10;

        let text = fs::read_to_string("/proc/zoneinfo")?;
        let counts = text.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
        let pages: i64 = counts.filter_map(|count| count.trim().parse::<i64>().ok()).sum();
        let page_size = i64::try_from(rustix::param::page_size()).map_err(io::Error::other)?;
        Ok(available + pages * page_size)
    }

    /// Open descriptors of this process.
    pub(crate) fn descriptor_count() -> io::Result<usize> {
        // The directory that is being read is one of them.
        Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
    }

    /// Lets this process open this many descriptors.
    pub(crate) fn allow_descriptors(count: u64) -> io::Result<()> {
        let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
        if current.is_none_or(|current| current >= count) {
            return Ok(());
        }
        if maximum.is_some_and(|maximum| maximum < count) {
            return Err(io::Error::other(format!("needs a limit of {count} open files (ulimit -Hn)")));
        }
        Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?)
    }

    /// Processor time that this process has used.
    pub(crate) fn cpu_time() -> io::Result<Duration> {
        let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
        Duration::try_from(time).map_err(io::Error::other)
    }

    /// The kernel's name and version.
    pub(crate) fn kernel() -> String {
        let name = rustix::system::uname();
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    }

    /// The processor's name.
    pub(crate) fn processor() -> String {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::{io, time::Duration};

    use crate::setting::Cpus;

    fn unsupported<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn cpus() -> io::Result<Vec<usize>> {
        unsupported()
    }

    pub(crate) fn pin(cpus: &Cpus) -> io::Result<()> {
        if cpus.0.is_empty() { Ok(()) } else { unsupported() }
    }

    /// A process whose parent is gone finds its connection broken, and ends by that.
    pub(crate) fn die_with(_parent: u32) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn refresh_memory_counts() -> bool {
        false
    }

    pub(crate) fn available_memory() -> io::Result<i64> {
        unsupported()
    }

    pub(crate) fn descriptor_count() -> io::Result<usize> {
        unsupported()
    }

    pub(crate) fn allow_descriptors(_count: u64) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn cpu_time() -> io::Result<Duration> {
        unsupported()
    }

    pub(crate) fn kernel() -> String {
        std::env::consts::OS.to_owned()
    }

    pub(crate) fn processor() -> String {
        std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_else(|_| std::env::consts::ARCH.to_owned())
    }
}

/* The rest of the operating system: cgroup limits from made-up folders, files, threads, clocks. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splitring/io/os.h"

static char root[256];
static char proc_file[300];

static void put_file(const char *name, const char *text)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(path, 0755);
        *at = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/splitring-os-test-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(proc_file, sizeof proc_file, "%s/self", root);
}

static void remove_root(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(os_cgroup, .init = make_root, .fini = remove_root);

static unsigned cpus_now(void)
{
    struct os_cpus cpus;
    os_cpus_find(&cpus, root, proc_file);
    cr_assert_geq(cpus.count, 1);
    cr_assert_leq(cpus.count, cpus.usable);
    for (unsigned i = 1; i < cpus.usable; i++) cr_assert_lt(cpus.cpus[i - 1], cpus.cpus[i]);
    return cpus.count;
}

static unsigned cpus_all(void)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return (unsigned)CPU_COUNT(&set);
}

Test(os_cgroup, without_files_affinity_decides)
{
    cr_assert_eq(cpus_now(), cpus_all());
    cr_assert_eq(os_cgroup_memory_max(root, proc_file), 0);
    put_file("self", "0::/\n");
    cr_assert_eq(cpus_now(), cpus_all());
    put_file("self", "nonsense\n:\n1:\n0::\n0::relative\n");
    cr_assert_eq(cpus_now(), cpus_all());
}

Test(os_cgroup, affinity_is_ascending_and_respected)
{
    cpu_set_t set;
    struct os_cpus cpus;
    os_cpus_find(&cpus, "", "");
    unsigned last = cpus.cpus[cpus.usable - 1];
    CPU_ZERO(&set);
    CPU_SET(last, &set);
    cr_assert_eq(sched_setaffinity(0, sizeof set, &set), 0);
    os_cpus_find(&cpus, root, proc_file);
    cr_assert_eq(cpus.count, 1);
    cr_assert_eq(cpus.usable, 1);
    cr_assert_eq(cpus.cpus[0], last);
}

Test(os_cgroup, v2_quota_rounds_up)
{
    put_file("self", "0::/pod/box\n");
    put_file("pod/box/cpu.max", "50000 100000\n");
    cr_assert_eq(cpus_now(), 1);
    if (cpus_all() < 2) cr_skip_test("needs two CPUs");
    put_file("pod/box/cpu.max", "100001 100000\n");
    cr_assert_eq(cpus_now(), 2);
    put_file("pod/box/cpu.max", "100000 100000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("pod/box/cpu.max", "max 100000\n");
    cr_assert_eq(cpus_now(), cpus_all());
    put_file("pod/box/cpu.max", "-5 0\n");
    cr_assert_eq(cpus_now(), cpus_all());
}

Test(os_cgroup, v2_parents_bind)
{
    put_file("self", "0::/pod/box\n");
    put_file("pod/box/cpu.max", "max 100000\n");
    put_file("pod/cpu.max", "100000 100000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("pod/box/memory.max", "max\n");
    put_file("pod/memory.max", "1073741824\n");
    put_file("memory.max", "2147483648\n");
    cr_assert_eq(os_cgroup_memory_max(root, proc_file), UINT64_C(1) << 30);
}

/* Inside a container the path is the host's, the mount is not. */
Test(os_cgroup, root_counts_when_the_path_is_foreign)
{
    put_file("self", "0::/host/only/path\n");
    put_file("cpu.max", "100000 100000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("self", "0::/../outside\n");
    cr_assert_eq(cpus_now(), 1);
}

Test(os_cgroup, v1_quota)
{
    put_file("self", "11:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:cpuset:/docker/x\n0::/\n");
    put_file("cpu/docker/x/cpu.cfs_quota_us", "80000\n");
    put_file("cpu/docker/x/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("cpu/docker/x/cpu.cfs_quota_us", "-1\n");
    cr_assert_eq(cpus_now(), cpus_all());
    put_file("cpu,cpuacct/docker/cpu.cfs_quota_us", "30000\n");
    put_file("cpu,cpuacct/docker/cpu.cfs_period_us", "50000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(os_cgroup_memory_max(root, proc_file), 0);
    put_file("memory/memory.limit_in_bytes", "536870912\n");
    cr_assert_eq(os_cgroup_memory_max(root, proc_file), UINT64_C(512) << 20);
}

Test(os_cgroup, hybrid_quota)
{
    put_file("self", "1:name=systemd:/x\n0::/x\n");
    put_file("unified/x/cpu.max", "100000 100000\n");
    cr_assert_eq(cpus_now(), 1);
    put_file("self", "2:cpuset,cpuacct:/x\n"); /* not the controller "cpu" */
    put_file("cpu/x/cpu.cfs_quota_us", "1000\n");
    put_file("cpu/x/cpu.cfs_period_us", "1000\n");
    cr_assert_eq(cpus_now(), cpus_all());
}

/* --- files ------------------------------------------------------------------------------------ */

TestSuite(os_file, .init = make_root, .fini = remove_root);

static void check_content(const char *path, const char *text)
{
    struct buf got = {0};
    cr_assert_eq(os_file_read(path, 1000, &got), 0);
    cr_assert(slice_equal(buf_slice(&got), slice_str(text)));
    buf_deinit(&got);
}

Test(os_file, replace_keeps_mode_and_link)
{
    char path[300], link_path[300];
    struct stat st;
    snprintf(path, sizeof path, "%s/a", root);
    snprintf(link_path, sizeof link_path, "%s/b", root);
    cr_assert_eq(os_file_replace(path, SLICE("one")), 0);
    check_content(path, "one");
    cr_assert_eq(chmod(path, 0600), 0);
    cr_assert_eq(symlink(path, link_path), 0);
    cr_assert_eq(os_file_replace(link_path, SLICE("two")), 0);
    check_content(path, "two");
    cr_assert_eq(lstat(link_path, &st), 0);
    cr_assert(S_ISLNK(st.st_mode));
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(os_file_replace(path, SLICE("")), 0);
    check_content(path, "");
    cr_assert_eq(os_chdir(root), 0);
    cr_assert_eq(os_file_replace("c", SLICE("relative")), 0);
    check_content("c", "relative");
    char cwd[300];
    os_cwd(cwd, sizeof cwd);
    cr_assert_str_eq(cwd, root);
    cr_assert_eq(system("test $(ls | wc -l) = 3"), 0, "something was left aside");
}

Test(os_file, errors_are_told)
{
    struct buf got = {0};
    char path[300];
    cr_assert_eq(os_file_read("/nonexistent/x", 10, &got), -ENOENT);
    cr_assert_eq(os_file_read("/", 10, &got), -EISDIR);
    cr_assert_eq(os_file_replace("/nonexistent/x", SLICE("y")), -ENOENT);
    cr_assert_eq(os_chdir("/nonexistent"), -ENOENT);
    snprintf(path, sizeof path, "%s/a", root);
    cr_assert_eq(os_file_replace(path, SLICE("12345678901")), 0);
    cr_assert_eq(os_file_read(path, 10, &got), -EFBIG);
    buf_deinit(&got);
    cr_assert_eq(os_file_read(path, 11, &got), 0);
    buf_deinit(&got);
}

/* --- threads, clocks, process ----------------------------------------------------------------- */

static void note_cpu(void *arg)
{
    *(int *)arg = sched_getcpu();
}

Test(os, threads_run_pinned_or_not)
{
    struct os_cpus cpus;
    struct os_thread *thread;
    os_cpus_find(&cpus, "", "");
    for (unsigned i = 0; i < cpus.usable; i++) {
        int cpu = -1, pin_error = -1;
        int rc = os_thread_start(&thread, "a name that is too long", cpus.cpus[i], &pin_error,
                                 note_cpu, &cpu);
        cr_assert_eq(rc, 0);
        os_thread_join(thread);
        cr_assert_eq(pin_error, 0);
        cr_assert_eq(cpu, cpus.cpus[i]);
    }
    int cpu = -1, pin_error = 0;
    cr_assert_eq(os_thread_start(&thread, "x", 1000, &pin_error, note_cpu, &cpu), 0);
    os_thread_join(thread);
    cr_assert_eq(pin_error, EINVAL);
    cr_assert_geq(cpu, 0);
    os_thread_pin(100000, &pin_error);
    cr_assert_eq(pin_error, EINVAL);
    os_thread_pin(cpus.cpus[0], &pin_error);
    cr_assert_eq(pin_error, 0);
    cr_assert_eq(sched_getcpu(), cpus.cpus[0]);
}

Test(os, clocks_and_entropy)
{
    int64_t start = os_mono_us();
    os_sleep_us(3000);
    int64_t took = os_mono_us() - start;
    cr_assert_geq(took, 3000);
    cr_assert_lt(took, 500000);
    cr_assert_gt(os_unix_us(), INT64_C(1600000000000000));
    cr_assert_neq(os_entropy64(), os_entropy64());
}

Test(os, process_facts)
{
    struct os_usage usage;
    char text[200];
    unsigned got = 0;
    os_usage_get(&usage);
    cr_assert_geq(usage.user_s + usage.system_s, 0);
    cr_assert_gt(os_rss_bytes(), 100000);
    cr_assert_gt(os_memory_total(), os_rss_bytes());
    os_uname(text, sizeof text);
    cr_assert_eq(strncmp(text, "Linux ", 6), 0);
    cr_assert_eq(os_pid(), getpid());
    struct rlimit limit = {64, 4096};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(os_nofile_raise(1000, &got), 0);
    cr_assert_eq(got, 1000);
    cr_assert_eq(os_nofile_raise(10, &got), 0);
    cr_assert_eq(got, 1000);
    if (os_nofile_raise(100000000, &got) < 0) cr_assert_geq(got, 1000);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(got, limit.rlim_cur);
}

static volatile sig_atomic_t stopped_by;

static void on_stop(int sig)
{
    stopped_by = sig;
}

Test(os, signals)
{
    os_signals_install(on_stop);
    raise(SIGPIPE);
    raise(SIGHUP);
    cr_assert_eq(stopped_by, 0);
    raise(SIGTERM);
    cr_assert_eq(stopped_by, SIGTERM);
    raise(SIGINT);
    cr_assert_eq(stopped_by, SIGINT);
}

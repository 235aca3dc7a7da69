/* Runs a program that may not use io_uring, as container runtimes arrange it:
 *
 *   seccomp_launch [EPERM | ENOSYS | EACCES | ENOMEM] program [argument …]
 *
 * io_uring_setup(2) then fails with that error (EPERM unless said), everything else is allowed. The
 * filter is written out by hand: four instructions need no library.
 * Thread: any (there is one). */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425 /* the same on every architecture but alpha */
#endif

static int error_of(const char *name)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EACCES", EACCES}, {"ENOMEM", ENOMEM}};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (strcmp(name, errors[i].name) == 0) return errors[i].error;
    }
    return 0;
}

static int install(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

int main(int argc, char **argv)
{
    int error = argc > 1 ? error_of(argv[1]) : 0;
    char **program = argv + (error ? 2 : 1);
    if (argc < 2 || !*program) {
        fprintf(stderr, "usage: %s [EPERM|ENOSYS|EACCES|ENOMEM] program [argument ...]\n", argv[0]);
        return 2;
    }
    if (install(error ? error : EPERM) < 0) {
        perror("seccomp");
        return 2;
    }
    execvp(*program, program);
    perror(*program);
    return 127;
}

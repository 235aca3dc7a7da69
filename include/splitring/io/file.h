/* Data files, read and written in pieces: snapshots. (Small whole files: os.h.)
 * Every function returns a negative errno on failure.
 * Thread: any. */
#ifndef SPLITRING_IO_FILE_H
#define SPLITRING_IO_FILE_H

#include <sys/types.h>

#include "splitring/base/types.h"

/* For reading; a regular file, its size in bytes. -EISDIR, or -EINVAL if it is anything else. */
int file_open(const char *path, uint64_t *size) WARN_UNUSED;
/* Bytes, 0 at the end. */
ssize_t file_read(int fd, char *ptr, size_t len) WARN_UNUSED;
/* The same from an offset on; the file's own position stays. */
ssize_t file_read_at(int fd, uint64_t offset, char *ptr, size_t len) WARN_UNUSED;
/* The file loses what is behind len, and that is on the disk. */
int file_cut(const char *path, uint64_t len) WARN_UNUSED;
/* For writing, empty; what is there goes. */
int file_create(const char *path) WARN_UNUSED;
int file_reopen(const char *path) WARN_UNUSED; /* for writing; what is there stays */
int file_write(int fd, const char *ptr, size_t len) WARN_UNUSED; /* all of it */
/* All of it, at that offset; on an error some of it may be there. */
int file_write_at(int fd, uint64_t offset, const char *ptr, size_t len) WARN_UNUSED;
int file_sync(int fd) WARN_UNUSED; /* data and size are on the disk */
int file_sync_data(int fd) WARN_UNUSED; /* the same without times and modes: fdatasync */
int file_truncate(int fd, uint64_t len) WARN_UNUSED;
int file_make_dir(const char *path) WARN_UNUSED; /* there may be one; it is on the disk */
/* The kernel may begin to write what was given since the last call, so that file_sync is short. */
void file_flush_begin(int fd, uint64_t from, uint64_t len);
/* Waits until these bytes have been written (no promise: file_sync still has to follow). A negative
 * errno must not be forgotten: file_sync would not tell it once more. */
int file_flush_wait(int fd, uint64_t from, uint64_t len) WARN_UNUSED;
int file_close(int fd);
bool file_is_link(const char *path); /* a symbolic one */
/* The file gets a second name, or where that is not possible the name gets a copy, which is on the
 * disk then. -EEXIST if there is something already. */
int file_link(const char *from, const char *to) WARN_UNUSED;
/* `from` takes the place of `to`, and that is on the disk, too. */
int file_rename(const char *from, const char *to) WARN_UNUSED;
/* Names that were made, changed or removed beside `path` are so on the disk. */
int file_sync_folder(const char *path) WARN_UNUSED;
void file_remove(const char *path);
bool file_is_terminal(int fd);

/* The names in a folder, in no order. */
struct file_list {
    void *dir;
};
int file_list_open(struct file_list *list, const char *path) WARN_UNUSED;
const char *file_list_next(struct file_list *list); /* until the next call; NULL: that was all */
void file_list_close(struct file_list *list);

#endif

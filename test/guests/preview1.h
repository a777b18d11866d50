/* Every function of preview 1 but proc_exit by its name, called with the numbers of an array. */
#include <stdint.h>

#define A0 void
#define A1 int32_t
#define A2 A1, int32_t
#define A3 A2, int32_t
#define A4 A3, int32_t
#define A5 A4, int32_t
#define A6 A5, int32_t
#define A7 A6, int32_t
#define I(n) (int32_t)a[n]
#define L(n) a[n]
#define FUNCTIONS(F)                                                                              \
  F(args_get, (A2), (I(0), I(1)))                                                                 \
  F(args_sizes_get, (A2), (I(0), I(1)))                                                           \
  F(environ_get, (A2), (I(0), I(1)))                                                              \
  F(environ_sizes_get, (A2), (I(0), I(1)))                                                        \
  F(clock_res_get, (A2), (I(0), I(1)))                                                            \
  F(clock_time_get, (int32_t, int64_t, int32_t), (I(0), L(1), I(2)))                              \
  F(fd_advise, (int32_t, int64_t, int64_t, int32_t), (I(0), L(1), L(2), I(3)))                    \
  F(fd_allocate, (int32_t, int64_t, int64_t), (I(0), L(1), L(2)))                                 \
  F(fd_close, (A1), (I(0)))                                                                       \
  F(fd_datasync, (A1), (I(0)))                                                                    \
  F(fd_fdstat_get, (A2), (I(0), I(1)))                                                            \
  F(fd_fdstat_set_flags, (A2), (I(0), I(1)))                                                      \
  F(fd_fdstat_set_rights, (int32_t, int64_t, int64_t), (I(0), L(1), L(2)))                        \
  F(fd_filestat_get, (A2), (I(0), I(1)))                                                          \
  F(fd_filestat_set_size, (int32_t, int64_t), (I(0), L(1)))                                       \
  F(fd_filestat_set_times, (int32_t, int64_t, int64_t, int32_t), (I(0), L(1), L(2), I(3)))        \
  F(fd_pread, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                             \
  F(fd_prestat_get, (A2), (I(0), I(1)))                                                           \
  F(fd_prestat_dir_name, (A3), (I(0), I(1), I(2)))                                                \
  F(fd_pwrite, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                            \
  F(fd_read, (A4), (I(0), I(1), I(2), I(3)))                                                      \
  F(fd_readdir, (A3, int64_t, int32_t), (I(0), I(1), I(2), L(3), I(4)))                           \
  F(fd_renumber, (A2), (I(0), I(1)))                                                              \
  F(fd_seek, (int32_t, int64_t, int32_t, int32_t), (I(0), L(1), I(2), I(3)))                      \
  F(fd_sync, (A1), (I(0)))                                                                        \
  F(fd_tell, (A2), (I(0), I(1)))                                                                  \
  F(fd_write, (A4), (I(0), I(1), I(2), I(3)))                                                     \
  F(path_create_directory, (A3), (I(0), I(1), I(2)))                                              \
  F(path_filestat_get, (A5), (I(0), I(1), I(2), I(3), I(4)))                                      \
  F(path_filestat_set_times, (A4, int64_t, int64_t, int32_t),                                     \
    (I(0), I(1), I(2), I(3), L(4), L(5), I(6)))                                                   \
  F(path_link, (A7), (I(0), I(1), I(2), I(3), I(4), I(5), I(6)))                                  \
  F(path_open, (A5, int64_t, int64_t, int32_t, int32_t),                                          \
    (I(0), I(1), I(2), I(3), I(4), L(5), L(6), I(7), I(8)))                                       \
  F(path_readlink, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                    \
  F(path_remove_directory, (A3), (I(0), I(1), I(2)))                                              \
  F(path_rename, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                      \
  F(path_symlink, (A5), (I(0), I(1), I(2), I(3), I(4)))                                           \
  F(path_unlink_file, (A3), (I(0), I(1), I(2)))                                                   \
  F(poll_oneoff, (A4), (I(0), I(1), I(2), I(3)))                                                  \
  F(proc_raise, (A1), (I(0)))                                                                     \
  F(random_get, (A2), (I(0), I(1)))                                                               \
  F(sched_yield, (A0), ())                                                                        \
  F(sock_accept, (A3), (I(0), I(1), I(2)))                                                        \
  F(sock_recv, (A6), (I(0), I(1), I(2), I(3), I(4), I(5)))                                        \
  F(sock_send, (A5), (I(0), I(1), I(2), I(3), I(4)))                                              \
  F(sock_shutdown, (A2), (I(0), I(1)))

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define DECLARE(name, parameters, arguments)                                                      \
  IMPORT(name) int32_t raw_##name parameters;                                                     \
  static int32_t call_##name(const int64_t *a) { (void)a; return raw_##name arguments; }
FUNCTIONS(DECLARE)

#define ENTRY(name, parameters, arguments) {#name, call_##name},
static const struct {
  const char *name;
  int32_t (*call)(const int64_t *);
} functions[] = {FUNCTIONS(ENTRY)};

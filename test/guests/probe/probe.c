/* One guest for many tests: the first argument says what to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int fail(const char *what) {
  fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
  return 1;
}

__attribute__((noinline)) static void inner_trap(void) { __builtin_trap(); }
__attribute__((noinline)) static void outer_trap(void) { inner_trap(); }

static int copy(int from, int to) {
  static char block[65536];
  for (;;) {
    ssize_t got = read(from, block, sizeof block);
    if (got < 0) return fail("read");
    if (got == 0) return 0;
    for (ssize_t done = 0; done < got;) {
      ssize_t put = write(to, block + done, got - done);
      if (put < 0) return fail("write");
      done += put;
    }
  }
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  const char *first = count > 2 ? arguments[2] : "";
  const char *second = count > 3 ? arguments[3] : "";
  if (!strcmp(what, "args")) {
    for (int i = 0; i < count; i++) puts(arguments[i]);
    return 0;
  }
  if (!strcmp(what, "echo")) {
    fputs(first, stdout);
    return 0;
  }
  if (!strcmp(what, "env")) {
    for (char **entry = environ; *entry; entry++) puts(*entry);
    return 0;
  }
  if (!strcmp(what, "stdin")) return copy(0, 1);
  if (!strcmp(what, "cat")) {
    int file = open(first, O_RDONLY);
    return file < 0 ? fail(first) : copy(file, 1);
  }
  if (!strcmp(what, "write")) {
    int file = open(first, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) return fail(first);
    return write(file, second, strlen(second)) < 0 ? fail(first) : close(file);
  }
  if (!strcmp(what, "copy")) {
    int from = open(first, O_RDONLY);
    if (from < 0) return fail(first);
    int to = open(second, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return to < 0 ? fail(second) : copy(from, to);
  }
  if (!strcmp(what, "mkdir")) return mkdir(first, 0755) ? fail(first) : 0;
  if (!strcmp(what, "rename")) return rename(first, second) ? fail(first) : 0;
  if (!strcmp(what, "symlink")) return symlink(first, second) ? fail(second) : 0;
  if (!strcmp(what, "unlink")) return unlink(first) ? fail(first) : 0;
  if (!strcmp(what, "ls")) {
    DIR *directory = opendir(first);
    if (!directory) return fail(first);
    for (struct dirent *entry; (entry = readdir(directory));) puts(entry->d_name);
    return closedir(directory);
  }
  if (!strcmp(what, "fill")) {
    int to = open(first, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (to < 0) return fail(first);
    static char block[65536];
    for (long left = atol(second); left > 0; left -= sizeof block) {
      size_t size = left < (long)sizeof block ? (size_t)left : sizeof block;
      memset(block, (int)(left / sizeof block) + 1, size);
      if (write(to, block, size) != (ssize_t)size) return fail(first);
    }
    return close(to);
  }
  if (!strcmp(what, "exit")) return atoi(first);
  if (!strcmp(what, "stderr")) {
    fprintf(stderr, "%s\n", first);
    return count > 3 ? atoi(second) : 0;
  }
  if (!strcmp(what, "clock")) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld\n", (long long)now.tv_sec);
    return 0;
  }
  if (!strcmp(what, "random")) {
    unsigned char bytes[16];
    getentropy(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) printf("%02x", bytes[i]);
    return putchar('\n') < 0;
  }
  if (!strcmp(what, "sleep")) {
    if (usleep((useconds_t)atol(first) * 1000)) return fail("sleep");
    if (!*second) return 0;
    what = second; /* goes on with another command */
  }
  if (!strcmp(what, "trap")) outer_trap();
  if (!strcmp(what, "loop"))
    for (volatile unsigned spin = 0;; spin++) {
    }
  if (!strcmp(what, "grow")) {
    long pages = 0;
    while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1) pages += 16;
    printf("%ld\n", pages);
    return 0;
  }
  if (!strcmp(what, "flood"))
    for (;;) puts("a line that never ends, because nobody reads it");
  fprintf(stderr, "probe: unknown command \"%s\"\n", what);
  return 64;
}

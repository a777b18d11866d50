/* Writes and reads much: one large file, or a tree of many small ones. Prints what it saw as `COUNT BYTES CHECKSUM`. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t block[8192];
static uint64_t state = 88172645463325252u;
static uint64_t count, bytes, sum = 14695981039346656037u;

static int fail(const char *what) {
  fprintf(stderr, "bulk: %s: %s\n", what, strerror(errno));
  return 1;
}

static int report(void) {
  printf("%llu %llu %016llx\n", (unsigned long long)count, (unsigned long long)bytes, (unsigned long long)sum);
  return 0;
}

/* Mixes a block in, whole words at a time. */
static void mix(size_t size) {
  memset((char *)block + size, 0, (8 - size % 8) % 8);
  for (size_t i = 0; i < (size + 7) / 8; i++) sum = (sum ^ block[i]) * 1099511628211u;
  bytes += size;
}

static int write_file(const char *path, uint64_t size) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return fail(path);
  for (uint64_t left = size; left > 0;) {
    size_t part = left < sizeof block ? (size_t)left : sizeof block;
    for (size_t i = 0; i < (part + 7) / 8; i++) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      block[i] = state;
    }
    for (size_t done = 0; done < part;) {
      ssize_t put = write(file, (char *)block + done, part - done);
      if (put < 0) return fail(path);
      done += (size_t)put;
    }
    mix(part);
    left -= part;
  }
  count++;
  return close(file) ? fail(path) : 0;
}

static int read_file(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) return fail(path);
  for (;;) {
    size_t size = 0;
    /* Whole blocks, so that the sum does not depend on how the host cuts its answers. */
    while (size < sizeof block) {
      ssize_t got = read(file, (char *)block + size, sizeof block - size);
      if (got < 0) return fail(path);
      if (got == 0) break;
      size += (size_t)got;
    }
    if (size == 0) break;
    mix(size);
  }
  count++;
  return close(file) ? fail(path) : 0;
}

static int compare(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

static int read_tree(const char *path) {
  struct stat found;
  if (stat(path, &found)) return fail(path);
  if (!S_ISDIR(found.st_mode)) return read_file(path);
  DIR *directory = opendir(path);
  if (!directory) return fail(path);
  char **names = NULL;
  size_t used = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    names = realloc(names, (used + 1) * sizeof *names);
    names[used++] = strdup(entry->d_name);
  }
  closedir(directory);
  qsort(names, used, sizeof *names, compare);
  for (size_t i = 0; i < used; i++) {
    char child[512];
    snprintf(child, sizeof child, "%s/%s", path, names[i]);
    free(names[i]);
    if (read_tree(child)) return 1;
  }
  free(names);
  return 0;
}

static int write_tree(const char *path, long files, uint64_t size) {
  char child[512];
  for (long i = 0; i < files; i++) {
    snprintf(child, sizeof child, "%s/%03ld", path, i / 100);
    if (i % 100 == 0 && mkdir(child, 0755)) return fail(child);
    snprintf(child, sizeof child, "%s/%03ld/%02ld", path, i / 100, i % 100);
    if (write_file(child, size)) return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  if (!strcmp(what, "write") && argc > 3)
    return write_file(argv[2], strtoull(argv[3], NULL, 10)) || report();
  if (!strcmp(what, "read")) return read_tree(argv[2]) || report();
  if (!strcmp(what, "tree") && argc > 4) {
    if (mkdir(argv[2], 0755)) return fail(argv[2]);
    return write_tree(argv[2], atol(argv[3]), strtoull(argv[4], NULL, 10)) || report();
  }
  /* One word far inside a file, read in place and after a seek, and the file's size. */
  if (!strcmp(what, "word") && argc > 3) {
    off_t at = (off_t)strtoull(argv[3], NULL, 10);
    int file = open(argv[2], O_RDONLY);
    uint64_t first = 0, second = 0;
    if (file < 0 || pread(file, &first, 8, at) != 8) return fail(argv[2]);
    if (lseek(file, at, SEEK_SET) != at || read(file, &second, 8) != 8) return fail(argv[2]);
    printf("%016llx %016llx %lld\n", (unsigned long long)first, (unsigned long long)second,
           (long long)lseek(file, 0, SEEK_END));
    return 0;
  }
  /* A file with a hole of that size and one word behind it, read back at both ends. */
  if (!strcmp(what, "hole") && argc > 3) {
    off_t at = (off_t)strtoull(argv[3], NULL, 10);
    uint64_t word = 0x0123456789abcdefu, first = 1, last = 0;
    int file = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || pwrite(file, &word, 8, at) != 8) return fail(argv[2]);
    if (pread(file, &first, 8, 0) != 8 || pread(file, &last, 8, at) != 8) return fail(argv[2]);
    return close(file) || first != 0 || last != word ? 2 : 0;
  }
  /* Lines to both streams in turn. */
  if (!strcmp(what, "talk")) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (long i = 0; i < atol(argv[2]); i++) {
      printf("out %ld\n", i);
      fprintf(stderr, "err %ld\n", i);
    }
    return argc > 3 ? atoi(argv[3]) : 0;
  }
  fprintf(stderr, "bulk: unknown command \"%s\"\n", what);
  return 64;
}

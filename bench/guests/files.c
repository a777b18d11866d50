/* File work that times itself: `files block FOLDER MIB` writes one large file in blocks of 64 KiB and reads it back, `files many
 * FOLDER COUNT` makes, stats, reads, lists and removes small files, a thousand in a folder, because wasmtime reads a folder from its
 * beginning for each part of its listing. `files one` has all of them in one folder. Prints its phases as JSON, in milliseconds. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { block_bytes = 64 * 1024, small_bytes = 100 };
static unsigned char block[block_bytes];
static double begun;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void fail(const char *what) {
  fprintf(stderr, "files: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void phase(const char *name, const char *before) {
  printf("%s\"%s\":%.3f", before, name, now() - begun);
  begun = now();
}

/* A word that differs in each block, so that one read twice or left out is seen. */
static void stamp(uint32_t index) { memcpy(block, &index, sizeof index); }
static int stamped(uint32_t index) { return !memcmp(block, &index, sizeof index); }

static void large(const char *path, uint32_t blocks) {
  memset(block, 0x5a, sizeof block);
  begun = now();
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) fail(path);
  for (uint32_t i = 0; i < blocks; i++) {
    stamp(i);
    for (size_t done = 0; done < sizeof block;) {
      ssize_t put = write(file, block + done, sizeof block - done);
      if (put <= 0) fail(path);
      done += (size_t)put;
    }
  }
  if (close(file)) fail(path);
  phase("write", "{");
  file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  for (uint32_t i = 0; i < blocks; i++) {
    for (size_t done = 0; done < sizeof block;) {
      ssize_t got = read(file, block + done, sizeof block - done);
      if (got <= 0) fail(path);
      done += (size_t)got;
    }
    if (!stamped(i) || block[block_bytes - 1] != 0x5a) fail("other bytes");
  }
  if (read(file, block, 1) != 0 || close(file)) fail(path);
  phase("read", ",");
  if (unlink(path)) fail(path);
  phase("remove", ",");
}

static uint32_t per_folder = 1000;

static const char *name(const char *folder, uint32_t index) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%03u/file-%06u", folder, index / per_folder, index);
  return path;
}

static const char *inner(const char *folder, uint32_t index) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%03u", folder, index);
  return path;
}

static void many(const char *folder, uint32_t count) {
  const uint32_t folders = (count + per_folder - 1) / per_folder;
  memset(block, 0x5a, small_bytes);
  begun = now();
  if (mkdir(folder, 0755)) fail(folder);
  for (uint32_t i = 0; i < folders; i++) {
    if (mkdir(inner(folder, i), 0755)) fail(inner(folder, i));
  }
  for (uint32_t i = 0; i < count; i++) {
    int file = open(name(folder, i), O_WRONLY | O_CREAT | O_EXCL, 0644);
    stamp(i);
    if (file < 0 || write(file, block, small_bytes) != small_bytes || close(file)) fail(name(folder, i));
  }
  phase("make", "{");
  for (uint32_t i = 0; i < count; i++) {
    struct stat found;
    if (stat(name(folder, i), &found) || found.st_size != small_bytes) fail(name(folder, i));
  }
  phase("stat", ",");
  for (uint32_t i = 0; i < count; i++) {
    int file = open(name(folder, i), O_RDONLY);
    if (file < 0 || read(file, block, sizeof block) != small_bytes || !stamped(i) || close(file)) fail(name(folder, i));
  }
  phase("read", ",");
  uint32_t listed = 0;
  for (uint32_t i = 0; i < folders; i++) {
    DIR *listing = opendir(inner(folder, i));
    if (!listing) fail(inner(folder, i));
    for (struct dirent *entry; (entry = readdir(listing));) listed += entry->d_name[0] != '.';
    if (closedir(listing)) fail("closedir");
  }
  if (listed != count) fail("listing");
  phase("list", ",");
  for (uint32_t i = 0; i < count; i++) {
    if (unlink(name(folder, i))) fail(name(folder, i));
  }
  for (uint32_t i = 0; i < folders; i++) {
    if (rmdir(inner(folder, i))) fail(inner(folder, i));
  }
  if (rmdir(folder)) fail(folder);
  phase("remove", ",");
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  const double start = now();
  char path[256];
  const uint32_t amount = (uint32_t)strtoul(argv[3], NULL, 10);
  snprintf(path, sizeof path, "%s/%s", argv[2], argv[1]);
  if (!strcmp(argv[1], "block")) large(path, amount * 16);
  else if (!strcmp(argv[1], "many")) many(path, amount);
  else if (!strcmp(argv[1], "one")) many(path, per_folder = amount);
  else return 64;
  printf(",\"all\":%.3f}\n", now() - start);
  return 0;
}
